#version 330
// Skin, and hair as shells above it: the mesh pushed out along its normals.
in vec3 in_pos; in vec3 in_normal; in vec3 in_rest; in vec4 in_paint;
uniform mat4 view_proj; uniform mat4 shadow_proj; uniform float shell; uniform vec3 comb;
uniform float puff; uniform sampler3D noise; uniform float grain;
out vec3 pos; out vec3 normal; out vec3 rest; out vec4 paint; out vec4 lit;
void main() {
    // puffed hair stands off unevenly, so that no two heads have the same outline
    float tuft = textureLod(noise, in_rest * 0.22 + vec3(grain * 0.37, grain * 0.11, grain * 0.73), 0.0).r;
    float off = shell * mix(1.0, 0.25 + 1.6 * tuft, puff);
    pos = in_pos + in_normal * off + comb * off * off;
    normal = in_normal; rest = in_rest; paint = in_paint;
    lit = shadow_proj * vec4(in_pos + in_normal * 0.02, 1.0);
    gl_Position = view_proj * vec4(pos, 1.0);
}
