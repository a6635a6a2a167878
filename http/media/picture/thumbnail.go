package picture

import (
	"bytes"
	"image"
	"image/jpeg"
	"image/png"
	"io"
)

// Size is how a thumbnail is to be.
type Size struct {
	Width, Height int
	// Crop cuts the picture to the proportions of the size; else all of it is scaled to fit into the size. It is never enlarged.
	Crop bool
	// Animated keeps the movement, if there is any that can be kept.
	Animated bool
}

// Thumbnail is a smaller picture.
type Thumbnail struct {
	Type          string
	Width, Height int
	Data          []byte
}

// quality is that of JPEG.
const quality = 80

// make makes a thumbnail of a picture that has been found to be small enough to be decoded.
func (s Size) make(r io.ReadSeeker, info Info) (*Thumbnail, error) {
	if s.Animated && info.Animated && info.Type == GIF {
		return s.animate(r, info)
	}
	small, err := s.still(r, info)
	if err != nil {
		return nil, err
	}
	t := &Thumbnail{Type: JPEG, Width: small.Rect.Dx(), Height: small.Rect.Dy()}
	var out bytes.Buffer
	if small.Opaque() {
		err = jpeg.Encode(&out, small, &jpeg.Options{Quality: quality})
	} else {
		t.Type = PNG
		err = (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&out, small)
	}
	t.Data = out.Bytes()
	return t, err
}

func (s Size) still(r io.ReadSeeker, info Info) (*image.RGBA, error) {
	img, err := decode(r, info)
	if err != nil {
		return nil, err
	}
	if img.Bounds().Empty() {
		return nil, ErrNoPicture
	}
	asStored := s
	if info.orientation >= 5 {
		asStored.Width, asStored.Height = s.Height, s.Width
	}
	part, width, height := asStored.fit(img.Bounds())
	return orient(shrink(img, part, width, height), info.orientation), nil
}

// fit says which part of a picture is shown, and how large.
func (s Size) fit(bounds image.Rectangle) (part image.Rectangle, width, height int) {
	part = bounds
	w, h := part.Dx(), part.Dy()
	if s.Crop {
		if w*s.Height > h*s.Width { // too wide
			cut := max(1, h*s.Width/s.Height)
			part.Min.X += (w - cut) / 2
			part.Max.X = part.Min.X + cut
		} else {
			cut := max(1, w*s.Height/s.Width)
			part.Min.Y += (h - cut) / 2
			part.Max.Y = part.Min.Y + cut
		}
		return part, min(s.Width, part.Dx()), min(s.Height, part.Dy())
	}
	switch {
	case w <= s.Width && h <= s.Height:
		return part, w, h
	case w*s.Height > h*s.Width:
		return part, s.Width, max(1, h*s.Width/w)
	}
	return part, max(1, w*s.Height/h), s.Height
}
