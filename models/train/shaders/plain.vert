#version 330
// Things with a colour of their own: lashes, frames, lenses, phones.
in vec3 in_pos; in vec3 in_normal; in vec2 in_uv;
uniform mat4 view_proj; uniform mat4 shadow_proj;
out vec3 pos; out vec3 normal; out vec2 uv; out vec4 lit;
void main() {
    pos = in_pos; normal = in_normal; uv = in_uv;
    lit = shadow_proj * vec4(pos + normal * 0.02, 1.0);
    gl_Position = view_proj * vec4(pos, 1.0);
}
