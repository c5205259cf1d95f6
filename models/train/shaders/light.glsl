uniform vec3 eye_at; uniform vec3 key_dir; uniform float key; uniform float flash;
uniform vec3 sky_dir; uniform float sky; uniform float ground; uniform float ambient;
uniform sampler2DShadow shadow_map; uniform sampler3D noise; uniform float grain;
float grainy(vec3 p) { return texture(noise, p + vec3(grain * 0.37, grain * 0.11, grain * 0.73)).r; }
float shadow(vec4 lit) {
    vec3 p = lit.xyz / lit.w * 0.5 + 0.5; float s = 0.0;
    for (int i = -1; i <= 1; i += 2) for (int j = -1; j <= 1; j += 2)
        s += texture(shadow_map, vec3(p.xy + vec2(i, j) * 0.0009, p.z - 0.0025));
    return s / 4.0;
}
float shadow_one(vec4 lit) {
    vec3 p = lit.xyz / lit.w * 0.5 + 0.5;
    return texture(shadow_map, vec3(p.xy, p.z - 0.0025));
}
float light(vec3 n, vec3 at, float ao, float shade, float wrap) {
    float d = max((dot(n, key_dir) + wrap) / (1.0 + wrap), 0.0) * mix(shade, 1.0, 0.04);
    float f = max(dot(n, normalize(eye_at - at)), 0.0);
    float h = dot(n, sky_dir) * 0.5 + 0.5;
    return key * d + flash * f + ao * (ambient + mix(ground, sky, h));
}
