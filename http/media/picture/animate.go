package picture

import (
	"bufio"
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"io"
)

// animate makes a smaller animation. Each frame is painted as a viewer would, made smaller, and given the colours of the frame.
func (s Size) animate(r io.ReadSeeker, info Info) (*Thumbnail, error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	remembering := &source{r: r}
	all, err := gif.DecodeAll(bufio.NewReaderSize(remembering, readAhead))
	if err != nil {
		if remembering.err != nil {
			return nil, remembering.err
		}
		return nil, fmt.Errorf("%w: %w", ErrNoPicture, err)
	}
	canvas := image.NewRGBA(image.Rect(0, 0, info.Width, info.Height))
	part, width, height := s.fit(canvas.Rect)
	out := &gif.GIF{LoopCount: all.LoopCount, Config: image.Config{Width: width, Height: height}}
	var before *image.RGBA
	for i, frame := range all.Image {
		disposal := byte(gif.DisposalNone)
		if i < len(all.Disposal) {
			disposal = all.Disposal[i]
		}
		if disposal == gif.DisposalPrevious {
			before = duplicate(before, canvas)
		}
		draw.Draw(canvas, frame.Rect, frame, frame.Rect.Min, draw.Over)
		out.Image = append(out.Image, paint(painted(shrink(canvas, part, width, height)), frame.Palette))
		out.Delay = append(out.Delay, all.Delay[i])
		out.Disposal = append(out.Disposal, gif.DisposalBackground)
		switch disposal {
		case gif.DisposalBackground:
			draw.Draw(canvas, frame.Rect, image.Transparent, image.Point{}, draw.Src)
		case gif.DisposalPrevious:
			copy(canvas.Pix, before.Pix)
		}
	}
	var data bytes.Buffer
	if err := gif.EncodeAll(&data, out); err != nil {
		return nil, err
	}
	return &Thumbnail{Type: GIF, Width: width, Height: height, Data: data.Bytes()}, nil
}

func duplicate(into, img *image.RGBA) *image.RGBA {
	if into == nil {
		into = image.NewRGBA(img.Rect)
	}
	copy(into.Pix, img.Pix)
	return into
}

// paint uses the colours that the frame had, and a transparent one.
func paint(img *image.RGBA, colors color.Palette) *image.Paletted {
	const most = 256
	palette := color.Palette{color.RGBA{}}
	for _, c := range colors {
		if _, _, _, alpha := c.RGBA(); alpha != 0 && len(palette) < most {
			palette = append(palette, c)
		}
	}
	out := image.NewPaletted(img.Rect, palette)
	nearest := map[uint32]uint8{}
	for y := range img.Rect.Dy() {
		for x := range img.Rect.Dx() {
			p := img.Pix[y*img.Stride+4*x:]
			if p[3] < 0x80 || len(palette) == 1 {
				continue // transparent, which is the first colour
			}
			// Fifteen bits tell colours apart well enough, and make the search rare.
			key := uint32(p[0]>>3)<<10 | uint32(p[1]>>3)<<5 | uint32(p[2]>>3)
			index, known := nearest[key]
			if !known {
				index = uint8(1 + palette[1:].Index(color.RGBA{p[0], p[1], p[2], 0xff}))
				nearest[key] = index
			}
			out.Pix[y*out.Stride+x] = index
		}
	}
	return out
}
