package picture

import (
	"bytes"
	"encoding/binary"
)

// inspectJPEG reads the markers up to the frame header (ITU-T T.81, annex B), and the orientation of an Exif header before it.
func inspectJPEG(s *scanner) (Info, error) {
	info := Info{Type: JPEG, orientation: 1}
	s.skip(2)
	for s.err == nil {
		if s.byte() != 0xff {
			return info, ErrNoPicture
		}
		marker := s.byte()
		for marker == 0xff && s.err == nil { // padding
			marker = s.byte()
		}
		if marker == 0x01 || marker >= 0xd0 && marker <= 0xd7 { // without a segment
			continue
		}
		if marker == 0xd9 || marker == 0xda { // the end, or the scan, without a frame
			return info, ErrNoPicture
		}
		length := s.big16() - 2
		if length < 0 {
			return info, ErrNoPicture
		}
		switch {
		case marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc:
			return jpegFrame(s, info, marker)
		case marker == 0xe1:
			if o := orientation(s.bytes(length)); o != 0 {
				info.orientation = o
			}
		default:
			s.skip(length)
		}
	}
	return info, s.err
}

// jpegFrame reads the frame header. A progressive picture is kept whole as coefficients, of 4 bytes each, beside its samples.
func jpegFrame(s *scanner, info Info, marker byte) (Info, error) {
	s.skip(1) // precision
	info.Height, info.Width = s.big16(), s.big16()
	components := int(s.byte())
	if s.err != nil || components < 1 || components > 4 {
		return info, ErrNoPicture
	}
	most, samples := 1, 0
	for range components {
		b := s.bytes(3)
		h, v := int(b[1]>>4), int(b[1]&15)
		most, samples = max(most, h*v), samples+h*v
	}
	if components == 1 {
		most, samples = 1, 1
	}
	perSample := int64(1)
	if marker == 0xc2 {
		perSample = 5
	}
	info.cost = pixels(info) * int64(samples) * perSample / int64(most)
	return info, s.err
}

func pixels(i Info) int64 { return int64(i.Width) * int64(i.Height) }

// exifOrientation reads size bytes of Exif, as other formats than JPEG have it; 1 when there is no orientation in them.
func exifOrientation(s *scanner, size uint32) int {
	const most = 64 << 10 // beyond that is no directory, but pictures
	head := s.bytes(int(min(size, most)))
	s.skip(int(size) - len(head))
	head = bytes.TrimPrefix(head, []byte(exifHeader)) // which only JPEG has, but some write it everywhere
	o := tiffOrientation(head)
	if s.err != nil || o == 0 {
		return 1
	}
	return o
}

const exifHeader = "Exif\x00\x00"

// orientation finds it in an Exif segment; 0 when there is none.
func orientation(segment []byte) int {
	tiff, is := bytes.CutPrefix(segment, []byte(exifHeader))
	if !is {
		return 0
	}
	return tiffOrientation(tiff)
}

// tiffOrientation finds the tag 0x0112 in the first directory; 0 when there is none.
func tiffOrientation(tiff []byte) int {
	if len(tiff) < 8 {
		return 0
	}
	var order binary.ByteOrder
	switch string(tiff[:4]) {
	case "II*\x00":
		order = binary.LittleEndian
	case "MM\x00*":
		order = binary.BigEndian
	default:
		return 0
	}
	at := uint64(order.Uint32(tiff[4:]))
	if at+2 > uint64(len(tiff)) {
		return 0
	}
	entries := tiff[at+2:]
	for range order.Uint16(tiff[at:]) {
		if len(entries) < 12 {
			return 0
		}
		if order.Uint16(entries) == 0x0112 {
			if o := int(order.Uint16(entries[8:])); o >= 1 && o <= 8 {
				return o
			}
			return 0
		}
		entries = entries[12:]
	}
	return 0
}
