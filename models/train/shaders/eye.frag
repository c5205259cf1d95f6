// Sclera, iris, pupil and what the cornea mirrors.
in vec3 pos; in vec3 normal; in vec4 lit;
uniform vec3 gaze; uniform vec3 upward; uniform float iris, iris_size, pupil, sclera, gap, glint, window_size, pupil_bright;
uniform vec3 window_dir; uniform vec3 lid_centre; uniform float flat_id;
layout(location = 0) out vec4 colour;
void main() {
    vec3 n = normalize(normal);
    float angle = acos(clamp(dot(n, gaze), -1.0, 1.0));
    vec3 across = normalize(cross(upward, gaze)); vec3 up = cross(gaze, across);
    float turn = atan(dot(n, up), dot(n, across));
    float streak = grainy(vec3(cos(turn), sin(turn), 0.1) * 1.7 + vec3(angle * 0.8)) - 0.5;
    float a = sclera * (1.0 - 0.25 * smoothstep(0.5, 1.1, angle)) * (1.0 + 0.10 * (grainy(n * 1.1) - 0.5));
    float i = iris * (1.0 + 1.3 * streak) * (1.0 + 0.8 * smoothstep(0.45, 0.15, angle / iris_size * 0.5));
    i *= 1.0 - 0.6 * smoothstep(iris_size * 0.80, iris_size, angle);
    a = mix(i, a, smoothstep(iris_size * 0.95, iris_size * 1.06, angle));
    float hole = smoothstep(pupil * 1.08, pupil * 0.92, angle);
    a = mix(a, 0.008, hole);
    // the lids shade the eyeball, most of all the upper one
    float high = dot(pos - lid_centre, upward) / max(gap, 0.01);
    float ao = mix(1.0, 0.35, smoothstep(-0.1, 0.55, high)) * mix(1.0, 0.6, smoothstep(0.2, 0.6, -high));
    float s = light(n, pos, ao, shadow(lit), 0.3);
    float value = a * s + hole * pupil_bright * flash;
    vec3 v = normalize(eye_at - pos);
    vec3 c = normalize(mix(n, gaze, 0.35 * smoothstep(iris_size * 1.3, 0.0, angle)));
    vec3 m = reflect(-v, c);
    value += glint * (pow(max(dot(m, key_dir), 0.0), 350.0) * 6.0 * (key + 0.1)
        + smoothstep(window_size, window_size * 0.8, acos(clamp(dot(m, window_dir), -1.0, 1.0))) * 0.45 * (sky + ambient)
        + pow(max(dot(m, v), 0.0), 500.0) * 5.0 * flash + 0.03 * (sky + ambient));
    colour = vec4(vec3(value), 1.0);
}
