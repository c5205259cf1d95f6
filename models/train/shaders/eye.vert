#version 330
// An eyeball: a unit sphere put at `centre`.
in vec3 in_pos;
uniform mat4 view_proj; uniform mat4 shadow_proj; uniform vec3 centre; uniform float radius;
out vec3 pos; out vec3 normal; out vec4 lit;
void main() {
    normal = in_pos; pos = centre + radius * in_pos;
    lit = shadow_proj * vec4(pos + normal * 0.005, 1.0);
    gl_Position = view_proj * vec4(pos, 1.0);
}
