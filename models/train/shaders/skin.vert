#version 330
// Skin, and hair as shells above it: the mesh pushed out along its normals.
in vec3 in_pos; in vec3 in_normal; in vec3 in_rest; in vec4 in_paint;
uniform mat4 view_proj; uniform mat4 shadow_proj; uniform float shell; uniform vec3 comb;
out vec3 pos; out vec3 normal; out vec3 rest; out vec4 paint; out vec4 lit;
void main() {
    pos = in_pos + in_normal * shell + comb * shell * shell;
    normal = in_normal; rest = in_rest; paint = in_paint;
    lit = shadow_proj * vec4(in_pos + in_normal * 0.02, 1.0);
    gl_Position = view_proj * vec4(pos, 1.0);
}
