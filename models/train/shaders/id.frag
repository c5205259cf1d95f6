// Which thing a pixel shows; nothing else.
uniform float flat_id;
layout(location = 0) out vec4 colour;
void main() { colour = vec4(flat_id, 0.0, 0.0, 1.0); }
