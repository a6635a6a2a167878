package picture

import (
	"image"
	"image/color"
	"image/draw"
)

// shrink makes a picture of width × height from a part of img, which is not smaller. Each pixel is the mean of the area that it
// covers, which keeps lines and texture where picking samples would drop them, and passes over the large picture only once.
func shrink(img image.Image, part image.Rectangle, width, height int) *image.RGBA {
	if planes, ok := img.(*image.YCbCr); ok {
		return coloured(shrinkYCbCr(planes, part, width, height))
	}
	out := image.NewRGBA(image.Rect(0, 0, width, height))
	// Whatever the picture's own colours are, a line of it at a time is painted in red, green, blue and alpha.
	line := image.NewRGBA(image.Rect(0, 0, part.Dx(), 1))
	a := newArea(part.Dx(), part.Dy(), width, height, 4)
	for y := range part.Dy() {
		draw.Draw(line, line.Rect, img, part.Min.Add(image.Pt(0, y)), draw.Src)
		a.add(line.Pix, func(row int, values []float32) {
			pixels := out.Pix[row*out.Stride:]
			for i, v := range values {
				pixels[i] = uint8(v + 0.5)
			}
		})
	}
	return out
}

// shrinkYCbCr reduces brightness and colour, which has fewer samples, each by itself.
func shrinkYCbCr(img *image.YCbCr, part image.Rectangle, width, height int) *image.YCbCr {
	luma := plane(img.Y, img.YStride, img.YOffset(part.Min.X, part.Min.Y), part.Dx(), part.Dy(), width, height)
	first := img.COffset(part.Min.X, part.Min.Y)
	across := img.COffset(part.Max.X-1, part.Min.Y) - first + 1
	down := (img.COffset(part.Min.X, part.Max.Y-1)-first)/img.CStride + 1
	blue := plane(img.Cb, img.CStride, first, across, down, width, height)
	red := plane(img.Cr, img.CStride, first, across, down, width, height)
	return &image.YCbCr{Y: luma, Cb: blue, Cr: red, YStride: width, CStride: width, SubsampleRatio: image.YCbCrSubsampleRatio444,
		Rect: image.Rect(0, 0, width, height)}
}

// coloured makes red, green and blue of what shrinkYCbCr gives.
func coloured(img *image.YCbCr) *image.RGBA {
	out := image.NewRGBA(img.Rect)
	for i := range img.Y {
		r, g, b := color.YCbCrToRGB(img.Y[i], img.Cb[i], img.Cr[i])
		p := out.Pix[4*i : 4*i+4]
		p[0], p[1], p[2], p[3] = r, g, b, 0xff
	}
	return out
}

// plane reduces w × h samples to width × height.
func plane(samples []byte, stride, at, w, h, width, height int) []byte {
	out := make([]byte, width*height)
	a := newArea(w, h, width, height, 1)
	for range h {
		a.add(samples[at:at+w], func(row int, values []float32) {
			line := out[row*width:]
			for i, v := range values {
				line[i] = uint8(v + 0.5)
			}
		})
		at += stride
	}
	return out
}

// area takes lines of w pixels, h of them, and gives lines of width pixels, height of them.
type area struct {
	channels      int
	spans         []span // of each pixel in a line that is given
	h, height     int
	y, row        int
	line, pending []float32
}

// span is what one pixel covers of a line: the pixels from first to last, of which the outer ones count in part.
type span struct {
	first, last int
	left, right float32 // the parts of first and last; only left counts when they are one
	inverse     float32 // of the sum of all parts
}

func newArea(w, h, width, height, channels int) *area {
	a := &area{channels: channels, spans: make([]span, width), h: h, height: height,
		line: make([]float32, width*channels), pending: make([]float32, width*channels)}
	for i := range a.spans {
		a.spans[i] = cover(i, w, width)
	}
	return a
}

// cover says what pixel i of n covers of w.
func cover(i, w, n int) span {
	// In n-ths of a pixel everything is whole.
	from, to := i*w, (i+1)*w
	s := span{first: from / n, last: (to - 1) / n, inverse: float32(n) / float32(w)}
	if s.first == s.last {
		s.left = float32(to-from) / float32(n)
		return s
	}
	s.left, s.right = float32((s.first+1)*n-from)/float32(n), float32(to-s.last*n)/float32(n)
	return s
}

// add takes the next line, and calls emit for each line that it completes.
func (a *area) add(pixels []byte, emit func(row int, values []float32)) {
	if a.channels == 1 {
		a.reduce(pixels)
	} else {
		a.reduce4(pixels)
	}
	// The line covers from y to y+1, in height-ths of a line.
	from, to := a.y*a.height, (a.y+1)*a.height
	a.y++
	for from < to {
		end := min(to, (a.row+1)*a.h)
		part := float32(end-from) / float32(a.h)
		for i, v := range a.line {
			a.pending[i] += v * part
		}
		if from = end; from == (a.row+1)*a.h {
			emit(a.row, a.pending)
			clear(a.pending)
			a.row++
		}
	}
}

func (a *area) reduce(pixels []byte) {
	for i, s := range a.spans {
		sum := float32(pixels[s.first]) * s.left
		if s.last > s.first {
			whole := uint32(0)
			for _, p := range pixels[s.first+1 : s.last] {
				whole += uint32(p)
			}
			sum += float32(whole) + float32(pixels[s.last])*s.right
		}
		a.line[i] = sum * s.inverse
	}
}

func (a *area) reduce4(pixels []byte) {
	for i, s := range a.spans {
		p := pixels[4*s.first : 4*s.first+4]
		r, g, b, alpha := float32(p[0])*s.left, float32(p[1])*s.left, float32(p[2])*s.left, float32(p[3])*s.left
		if s.last > s.first {
			var sum [4]uint32
			for at := 4 * (s.first + 1); at < 4*s.last; at += 4 {
				p := pixels[at : at+4]
				sum[0] += uint32(p[0])
				sum[1] += uint32(p[1])
				sum[2] += uint32(p[2])
				sum[3] += uint32(p[3])
			}
			p := pixels[4*s.last : 4*s.last+4]
			r += float32(sum[0]) + float32(p[0])*s.right
			g += float32(sum[1]) + float32(p[1])*s.right
			b += float32(sum[2]) + float32(p[2])*s.right
			alpha += float32(sum[3]) + float32(p[3])*s.right
		}
		out := a.line[4*i : 4*i+4]
		out[0], out[1], out[2], out[3] = r*s.inverse, g*s.inverse, b*s.inverse, alpha*s.inverse
	}
}
