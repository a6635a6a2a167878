package picture

import (
	"bufio"
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
	img, err := decoder(info)(bufio.NewReaderSize(remembering, readAhead))
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
