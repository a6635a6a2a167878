package picture

import (
	"bytes"
	"image"
	"image/draw"
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
	t := &Thumbnail{Type: JPEG, Width: small.Bounds().Dx(), Height: small.Bounds().Dy()}
	if planes, ok := small.(*image.YCbCr); ok {
		t.Data = compress(planes)
		return t, nil
	}
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

// frame is a picture as it is kept: *image.RGBA, or *image.YCbCr with half the colours each way, which a JPEG is made of without becoming
// red, green and blue. Either begins at 0, 0, and has nothing between its lines.
type frame interface {
	image.Image
	Opaque() bool
}

// painted is the frame in colours.
func painted(f frame) *image.RGBA {
	if colours, ok := f.(*image.RGBA); ok {
		return colours
	}
	out := image.NewRGBA(f.Bounds())
	draw.Draw(out, out.Rect, f, image.Point{}, draw.Src)
	return out
}

func (s Size) still(r io.ReadSeeker, info Info) (frame, error) {
	if info.Type == JPEG {
		if planes, err := s.reduced(r, info); err == nil {
			return orient(planes, info.orientation), nil
		}
	}
	img, err := decode(r, info)
	if err != nil {
		return nil, err
	}
	if img.Bounds().Empty() {
		return nil, ErrNoPicture
	}
	part, width, height := s.stored(info).fit(img.Bounds())
	return orient(shrink(img, part, width, height), info.orientation), nil
}

// stored is the size for a picture that has yet to be turned as it is to be seen.
func (s Size) stored(info Info) Size {
	if info.orientation >= 5 {
		s.Width, s.Height = s.Height, s.Width
	}
	return s
}

// reduced makes the picture, not yet turned, from a JPEG of which it decodes no more than that takes. An error says that it has to be
// decoded as a whole.
func (s Size) reduced(r io.ReadSeeker, info Info) (*image.YCbCr, error) {
	whole := Size{Width: info.Width, Height: info.Height}.stored(info)
	part, width, height := s.stored(info).fit(image.Rect(0, 0, whole.Width, whole.Height))
	for _, side := range []int{1, 2, 4} {
		scaled := image.Rect(part.Min.X*side/8, part.Min.Y*side/8, ceil(part.Max.X*side, 8), ceil(part.Max.Y*side, 8))
		if scaled.Dx() < width || scaled.Dy() < height {
			continue
		}
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
		img, err := reduce(r, side)
		if err != nil || !scaled.In(img.Rect) {
			return nil, errUnknown
		}
		return shrinkYCbCr(img, scaled, width, height), nil
	}
	return nil, errUnknown
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
