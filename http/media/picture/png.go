package picture

// inspectPNG reads the header, the orientation of an Exif header before the picture, and whether an animation is announced before the first frame (APNG).
func inspectPNG(s *scanner) (Info, error) {
	info := Info{Type: PNG, orientation: 1}
	s.skip(8)
	if length := s.big32(); length != 13 || string(s.bytes(4)) != "IHDR" {
		return info, ErrNoPicture
	}
	width, height := s.big32(), s.big32()
	if width > 1<<30 || height > 1<<30 {
		return info, ErrTooLarge
	}
	info.Width, info.Height = int(width), int(height)
	depth, color := s.byte(), s.byte()
	s.skip(2)
	interlaced := s.byte()
	s.skip(4)
	perPixel := int64(4)
	if depth == 16 {
		perPixel = 8
	}
	if color == 0 || color == 3 { // grey or a palette
		perPixel = int64(max(depth, 8)) / 8
	}
	info.cost = pixels(info) * perPixel
	if interlaced != 0 { // each pass is a picture of its own
		info.cost += info.cost / 2
	}
	for s.err == nil {
		length, kind := s.big32(), string(s.bytes(4))
		switch {
		case kind == "acTL":
			info.Animated = true
			return info, nil
		case kind == "eXIf" && length <= maxHeader:
			info.orientation = exifOrientation(s, length)
			s.skip(4)
			continue
		case kind == "IDAT" || s.err != nil || length > maxHeader:
			return info, s.err
		}
		s.skip(int(length) + 4)
	}
	return info, s.err
}
