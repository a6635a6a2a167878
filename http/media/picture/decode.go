package picture

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/webp"
)

// readAhead is how much of a picture is read at a time, in bytes.
const readAhead = 64 << 10

// decode decodes the picture, of an animation the first frame.
func decode(r io.ReadSeeker, info Info) (image.Image, error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	remembering := &source{r: r}
	var from io.Reader = remembering
	if info.Type == JPEG {
		from = &scans{r: from}
	}
	img, err := decoder(info)(bufio.NewReaderSize(from, readAhead))
	if err != nil {
		if remembering.err != nil {
			return nil, remembering.err // it could not be read, which says nothing about the picture
		}
		return nil, fmt.Errorf("%w: %w", ErrNoPicture, err)
	}
	return img, nil
}

func decoder(info Info) func(io.Reader) (image.Image, error) {
	switch info.Type {
	case JPEG:
		return jpeg.Decode
	case PNG:
		return png.Decode
	case GIF:
		return gif.Decode
	}
	if !info.Animated {
		return webp.Decode
	}
	return func(r io.Reader) (image.Image, error) {
		still, err := firstFrame(r)
		if err != nil {
			return nil, err
		}
		return webp.Decode(still)
	}
}

// source remembers why reading failed, apart from the end.
type source struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		s.err = err
	}
	return n, err
}

// scans reads a JPEG, in which there may be only so many scans. One that shows more and more of a picture has about ten; but each may be of a
// few bytes, and costs as much as all of the picture.
type scans struct {
	r    io.Reader
	n    int
	mark bool // the last byte may begin the marker of one
}

const mostScans = 100

var errScans = errors.New("too many scans")

// Read implements io.Reader.
func (s *scans) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if n > 0 {
		if s.mark && p[0] == 0xda {
			s.n++
		}
		s.n += bytes.Count(p[:n], []byte{0xff, 0xda})
		s.mark = p[n-1] == 0xff
	}
	if s.n > mostScans {
		return 0, errScans
	}
	return n, err
}
