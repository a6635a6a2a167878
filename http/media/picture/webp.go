package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// inspectWebP reads the header of the first chunk: of a lossy picture, a lossless one, or the extended format (RFC 9649).
func inspectWebP(s *scanner) (Info, error) {
	info := Info{Type: WebP, orientation: 1}
	s.skip(12)
	kind := string(s.bytes(4))
	s.skip(4)
	switch kind {
	case "VP8 ":
		b := s.bytes(10)
		info.Width, info.Height = int(binary.LittleEndian.Uint16(b[6:])&0x3fff), int(binary.LittleEndian.Uint16(b[8:])&0x3fff)
	case "VP8L":
		s.skip(1)
		bits := s.little32()
		info.Width, info.Height = int(bits&0x3fff)+1, int(bits>>14&0x3fff)+1
	case "VP8X":
		const animated, hasExif = 2, 8
		flags := s.byte()
		info.Animated = flags&animated != 0
		s.skip(3)
		info.Width, info.Height = s.little24()+1, s.little24()+1
		if flags&hasExif != 0 && s.err == nil {
			info.orientation = webpOrientation(s)
		}
	default:
		return info, ErrNoPicture
	}
	info.cost = pixels(info) * 8 // the picture, and what a lossless one is made from
	return info, s.err
}

// webpOrientation looks for the Exif header, which stands behind the picture. Whatever is wrong there, the picture is seen as it is stored.
func webpOrientation(s *scanner) int {
	found := 1
	for s.err == nil {
		kind, size := string(s.bytes(4)), s.little32()
		if size > maxHeader {
			break
		}
		if kind == "EXIF" {
			found = exifOrientation(s, size)
			break
		}
		s.skip(int(size + size&1))
	}
	s.err = nil
	return found
}

// firstFrame makes a still WebP of the first frame of an animated one.
func firstFrame(r io.Reader) (io.Reader, error) {
	s := &scanner{r: newScanner(r).r}
	s.skip(12)
	for s.err == nil {
		kind, size := string(s.bytes(4)), s.little32()
		if size > maxHeader {
			return nil, ErrNoPicture
		}
		if kind != "ANMF" {
			s.skip(int(size + size&1))
			continue
		}
		if size < 24 {
			return nil, ErrNoPicture
		}
		s.skip(6)
		width, height := s.little24()+1, s.little24()+1
		s.skip(4)
		return stillFrame(s, width, height, int(size)-16)
	}
	return nil, errors.Join(ErrNoPicture, s.err)
}

// stillFrame puts the chunks of a frame into a file of their own.
func stillFrame(s *scanner, width, height, size int) (io.Reader, error) {
	data := s.bytes(size)
	if s.err != nil {
		return nil, ErrNoPicture
	}
	var body []byte
	if string(data[:4]) == "ALPH" { // only the extended format has a separate alpha channel
		const hasAlpha = 0x10
		body = append(body, "VP8X\x0a\x00\x00\x00"...)
		body = append(body, hasAlpha, 0, 0, 0,
			byte(width-1), byte((width-1)>>8), byte((width-1)>>16), byte(height-1), byte((height-1)>>8), byte((height-1)>>16))
	}
	body = append(body, data...)
	head := binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body)+4))
	return io.MultiReader(bytes.NewReader(append(head, "WEBP"...)), bytes.NewReader(body)), nil
}
