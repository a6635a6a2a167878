// Package picture makes smaller pictures of pictures that strangers have uploaded. What a picture would cost is read from its
// first bytes, and pictures that cost too much are refused before anything of them is decoded; a Workshop bounds how
// many are worked on at once, and how much memory they take together.
package picture

import (
	"errors"
	"io"
)

// The types of pictures, which are told by their content, never by what somebody says.
const (
	JPEG = "image/jpeg"
	PNG  = "image/png"
	GIF  = "image/gif"
	WebP = "image/webp"
)

// The errors; test with errors.Is.
var (
	// ErrNoPicture says that the content is no picture of these types, or a damaged one.
	ErrNoPicture = errors.New("picture: this is no picture that can be read")
	// ErrTooLarge says that the picture has more pixels, or would take more memory, than is allowed.
	ErrTooLarge = errors.New("picture: the picture is too large")
)

// Info is what the first bytes say.
type Info struct {
	Type          string
	Width, Height int // as it is to be seen, after its orientation
	Animated      bool

	orientation int
	cost        int64 // bytes that decoding the first frame takes, about
	motionCost  int64 // bytes that decoding all frames takes
}

// Inspect reads what the picture is, without decoding it. The reader is then somewhere in it.
func Inspect(r io.ReadSeeker) (Info, error) {
	var magic [16]byte
	n, err := io.ReadFull(r, magic[:])
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return Info{}, err
	}
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return Info{}, err
	}
	inspect := inspector(string(magic[:n]))
	if inspect == nil {
		return Info{}, ErrNoPicture
	}
	info, err := inspect(newScanner(r))
	switch {
	case err != nil && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		return info, ErrNoPicture
	case err != nil:
		return info, err
	case info.Width <= 0 || info.Height <= 0:
		return info, ErrNoPicture
	}
	if info.orientation >= 5 {
		info.Width, info.Height = info.Height, info.Width
	}
	return info, nil
}

func inspector(magic string) func(*scanner) (Info, error) {
	has := func(at int, s string) bool { return len(magic) >= at+len(s) && magic[at:at+len(s)] == s }
	switch {
	case has(0, "\xff\xd8\xff"):
		return inspectJPEG
	case has(0, "\x89PNG\r\n\x1a\n"):
		return inspectPNG
	case has(0, "GIF87a"), has(0, "GIF89a"):
		return inspectGIF
	case has(0, "RIFF") && has(8, "WEBP"):
		return inspectWebP
	}
	return nil
}
