package picture

import "math"

// maxFrames bounds an animation that is kept moving.
const maxFrames = 1000

// inspectGIF walks over all blocks, so that it is known what the frames take.
func inspectGIF(s *scanner) (Info, error) {
	s.skip(6)
	info := Info{Type: GIF, orientation: 1, Width: s.little16(), Height: s.little16()}
	s.skip(table(s.byte()) + 2)
	frames := 0
	for s.err == nil {
		switch s.byte() {
		case 0x21: // an extension
			s.skip(1)
			s.blocks()
		case 0x2c: // a frame
			s.skip(4)
			width, height := s.little16(), s.little16()
			s.skip(table(s.byte()) + 1)
			s.blocks()
			if s.err != nil { // it broke off within this frame
				break
			}
			frames++
			area := int64(width) * int64(height)
			if frames == 1 {
				info.cost = area
			}
			info.motionCost += area
			if frames > maxFrames { // it can be seen, but not be kept moving
				info.Animated, info.motionCost = true, math.MaxInt64/2
				return info, nil
			}
		default: // the end, or something unknown
			info.Animated = frames > 1
			if frames == 0 {
				return info, ErrNoPicture
			}
			// All frames are painted on one canvas of 4 bytes per pixel.
			info.motionCost += pixels(info) * 4
			return info, nil
		}
	}
	return info, s.err
}

// table is how many bytes the colour table takes that a packed field announces.
func table(packed byte) int {
	if packed&0x80 == 0 {
		return 0
	}
	return 3 << (packed&7 + 1)
}

// blocks passes over data blocks up to the empty one.
func (s *scanner) blocks() {
	for s.err == nil {
		n := s.byte()
		if n == 0 {
			return
		}
		s.skip(int(n))
	}
}
