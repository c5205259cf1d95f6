// Skin, brows, stubble, clothes; with shell > 0 a layer of hair.
in vec3 pos; in vec3 normal; in vec3 rest; in vec4 paint; in vec4 lit;
uniform float skin, lips, lid_shadow, bags, wrinkle, freckle, brow, brow_height, brow_thick,
    brow_slope, brow_albedo, hair_albedo, beard, cloth, collar, shell, shell_part, hair_line,
    liner, gloss, fur, crease, hand, mask, full, beard_top;
layout(location = 0) out vec4 colour;
float scalp(vec3 r) {
    // the hair's edge as seen from the side: how far forward it reaches at each height
    float y = r.y - hair_line * smoothstep(7.4, 7.8, r.y);
    float reach = 0.28 + 0.36 * smoothstep(7.30, 7.42, y) + 0.25 * smoothstep(7.42, 7.85, y)
        + 0.95 * smoothstep(7.80, 8.05, y);
    float top = smoothstep(0.10, -0.06, r.z - reach) * smoothstep(6.5, 6.7, r.y);
    float ear = smoothstep(0.60, 0.68, abs(r.x)) * smoothstep(7.46, 7.38, r.y) * smoothstep(0.15, 0.30, r.z);
    return clamp(top - ear, 0.0, 1.0);
}
// a full beard: from the sideburns along the jaw, and over the lip
float bearded(vec3 r, float side, float mid) {
    float edge = 6.74 + beard_top + 1.15 * max(side - 0.36, 0.0) + 0.10 * mid;
    float jaw = smoothstep(edge + 0.05, edge - 0.05, r.y) * step(6.05, r.y) * smoothstep(0.30, 0.45, r.z);
    float lip = smoothstep(0.09, 0.05, abs(r.y - 6.86 + 0.25 * side)) * step(1.2, r.z) * step(side, 0.40);
    return max(jaw, lip);
}
void main() {
    vec3 r = rest; float side = abs(r.x);
    vec3 n = normalize(normal + vec3(0.0, 0.0, 1e-5));
    float fine = grainy(r * 3.1) - 0.5, mid = grainy(r * 0.9) - 0.5, slow = grainy(r * 0.25) - 0.5;
    if (shell_part > 0.0) {
        vec3 q = vec3(r.x * 4.0 + slow, r.y * 0.6, r.z * 4.0);
        float strand = grainy(q) * 0.75 + grainy(q * 2.7) * 0.35 + slow * 0.25;
        float m = scalp(r) * (0.75 + 0.9 * (grainy(vec3(r.x * 1.6, r.y * 0.25, r.z * 1.6)) - 0.3));
        if (fur > 1.5) m = max(smoothstep(6.75, 6.5, r.y + 0.35 * (side - 0.35)) * step(6.0, r.y) * step(0.55, r.z),
                               smoothstep(0.10, 0.05, abs(r.y - 6.80)) * step(1.3, r.z) * step(side, 0.34)) * (1.0 - paint.x);
        if (fur > 1.5 && full > 0.0) m = bearded(r, side, mid) * (1.0 - paint.x) * min(1.0, full * 1.3);
        if (m * 1.15 < shell_part * 0.55 + (1.0 - strand) * 0.75 + 0.05) discard;
        float s = light(n, pos, paint.z, shadow_one(lit), 0.4);
        colour = vec4(vec3(hair_albedo * (0.4 + 0.9 * shell_part) * (0.6 + strand * 0.8) * s), 1.0);
        return;
    }
    float albedo = skin * (1.0 + 0.16 * fine + 0.14 * mid + 0.18 * slow);
    albedo *= 1.0 - freckle * smoothstep(0.62, 0.75, grainy(r * 2.2 + 7.0));
    albedo *= mix(1.0, lips * (0.9 + 0.25 * fine), paint.x);
    // the lids and the hollow below the eye
    vec2 e = vec2(side - 0.31, r.y - 7.29);
    float near_eye = exp(-dot(e * vec2(3.4, 5.0), e * vec2(3.4, 5.0)));
    albedo *= mix(1.0, lid_shadow, near_eye * smoothstep(-0.02, 0.05, e.y));
    vec2 bag = (e + vec2(0.02, 0.10)) * vec2(4.0, 11.0);
    albedo *= 1.0 - bags * exp(-dot(bag, bag));
    albedo *= 1.0 - (0.25 + 0.65 * liner) * paint.w * paint.w;
    float fold_at = (e.y - 0.095 + 2.2 * (side - 0.30) * (side - 0.30)) * 55.0;
    albedo *= 1.0 - 0.30 * crease * exp(-fold_at * fold_at)
        * smoothstep(0.20, 0.12, abs(side - 0.30));
    // wrinkles: forehead, corners of the eyes
    float forehead = smoothstep(7.6, 7.75, r.y) * smoothstep(8.15, 7.95, r.y);
    albedo *= 1.0 - wrinkle * 0.25 * forehead * smoothstep(0.3, 0.9, sin(r.y * 75.0 + 6.0 * mid + 3.0 * slow));
    float crow = smoothstep(0.46, 0.52, side) * smoothstep(0.68, 0.58, side) * smoothstep(0.16, 0.08, abs(e.y));
    albedo *= 1.0 - wrinkle * 0.30 * crow * smoothstep(0.2, 0.9, sin(atan(e.y, side - 0.40) * 22.0 + 4.0 * mid));
    // brows
    float x = (side - 0.29) / 0.22;
    float line = 7.495 + brow_height + brow_slope * 0.10 * x - 0.02 * x * x;
    float thick = brow_thick * (1.0 - 0.45 * clamp(x, -0.2, 1.0)) * (1.0 + 0.5 * mid);
    float hairs = grainy(vec3((side - r.y * 1.3) * 9.0, (r.y + side * 0.35) * 1.6, 0.3)) * 1.3 + 0.15;
    float b = brow * smoothstep(1.0, 0.55, abs(r.y - line) / thick) * smoothstep(1.25, 0.8, abs(x))
        * step(1.0, r.z) * clamp(hairs * 1.6 - 0.3, 0.0, 1.0);
    albedo = mix(albedo, brow_albedo, clamp(b, 0.0, 0.95));
    // stubble
    float jaw = smoothstep(6.95, 6.6, r.y + 0.3 * (side - 0.35)) * step(6.0, r.y) * step(0.5, r.z) * (1.0 - paint.x);
    albedo *= 1.0 - 0.55 * beard * jaw * (0.5 + grainy(r * 5.0));
    if (full > 0.0) albedo = mix(albedo, hair_albedo * (0.7 + 0.6 * grainy(r * vec3(6.0, 2.0, 6.0))),
        (1.0 - hand) * min(1.0, full * (0.55 + 0.6 * grainy(r * 4.0))) * bearded(r, side, mid) * (1.0 - paint.x));
    if (fur > 0.5) albedo = mix(albedo, hair_albedo, 0.9 * scalp(r));
    float cloak = hand > 0.5 ? 0.0 : smoothstep(collar + 0.05, collar, r.y - 0.35 * side + 0.25 * r.z);
    float fold = 1.0 + 0.5 * slow + 0.15 * (grainy(vec3(r.x * 8.0, r.y * 8.0, 0.0)) - 0.5);
    albedo = mix(albedo, cloth * fold, cloak);
    // a mask over nose and mouth
    float veil = mask > 0.0 && hand < 0.5 ? step(0.62, r.z) * smoothstep(7.02, 6.98, r.y + 1.2 * side * side * side - 0.08 * step(side, 0.2))
        * smoothstep(6.16, 6.20, r.y + 0.3 * (r.z - 1.3)) : 0.0;
    albedo = mix(albedo, mask * (1.0 + 0.12 * fine + 0.10 * sin(r.y * 60.0) * step(0.5, brow)), veil);
    n = normalize(n + 0.10 * vec3(fine, mid, grainy(r * 2.3 + 3.0) - 0.5));
    float shade = shadow(lit);
    float s = light(n, pos, paint.z, shade, 0.25);
    vec3 v = normalize(eye_at - pos);
    float spec = pow(max(dot(n, normalize(key_dir + v)), 0.0), 22.0) * key * shade * 0.16
        + pow(max(dot(n, v), 0.0), 30.0) * flash * 0.10;
    colour = vec4(vec3(albedo * s + (1.0 - cloak) * (1.0 - veil) * gloss * (0.6 + fine) * spec), 1.0);
}
