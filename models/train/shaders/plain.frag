in vec3 pos; in vec3 normal; in vec2 uv; in vec4 lit;
uniform float albedo, alpha, mirror, emit, strand; uniform int kind;
layout(location = 0) out vec4 colour;
void main() {
    vec3 n = normalize(normal); vec3 v = normalize(eye_at - pos);
    if (dot(n, v) < 0.0) n = -n;
    float s = light(n, pos, 1.0, kind == 2 ? 1.0 : shadow(lit), 0.3);
    if (kind == 1) { colour = vec4(vec3(albedo * s), alpha); return; } // lashes
    vec3 m = reflect(-v, n);
    float bright = smoothstep(0.2, 0.9, grainy(m * 0.35)) * (sky + ambient)
        + pow(max(dot(m, key_dir), 0.0), 60.0) * 3.0 * key + pow(max(dot(n, v), 0.0), 200.0) * flash;
    if (kind == 2) { // glass over what lies behind it
        float f = mirror * (0.25 + pow(1.0 - max(dot(n, v), 0.0), 3.0)) * bright;
        colour = vec4(vec3(albedo * s * alpha + f), alpha + min(f, 1.0) * (1.0 - alpha)); return;
    }
    // hair or cloth: fibres along v
    float fibre = 1.0 + strand * (1.4 * grainy(vec3(uv.x * 9.0, uv.y * 0.5, grain)) + 0.6 * grainy(pos * 0.8) - 1.0);
    float screen = emit * step(0.06, uv.x) * step(uv.x, 0.94) * step(0.05, uv.y) * step(uv.y, 0.95)
        * (0.5 + grainy(vec3(uv * 0.4, grain)));
    colour = vec4(vec3(albedo * max(fibre, 0.05) * s + mirror * bright + screen), 1.0);
}
