package picture

import (
	"encoding/binary"
	"image"
	"image/draw"
)

// shrink makes a picture of width × height from a part of img, which is not smaller. Each pixel is the mean of the area that it
// covers, which keeps lines and texture where picking samples would drop them, and passes over the large picture only once.
func shrink(img image.Image, part image.Rectangle, width, height int) frame {
	if planes, ok := img.(*image.YCbCr); ok {
		return shrinkYCbCr(planes, part, width, height)
	}
	out := image.NewRGBA(image.Rect(0, 0, width, height))
	// Whatever the picture's own colours are, a line of it at a time is painted in red, green, blue and alpha.
	line := image.NewRGBA(image.Rect(0, 0, part.Dx(), 1))
	a := newArea(part.Dx(), part.Dy(), width, height, 4, out.Pix)
	for y := range part.Dy() {
		draw.Draw(line, line.Rect, img, part.Min.Add(image.Pt(0, y)), draw.Src)
		a.add(line.Pix)
	}
	return out
}

// shrinkYCbCr reduces brightness and colour, which has fewer samples, each by itself. The colours get half as many each way, as a JPEG
// that is made of them has.
func shrinkYCbCr(img *image.YCbCr, part image.Rectangle, width, height int) *image.YCbCr {
	out := image.NewYCbCr(image.Rect(0, 0, width, height), image.YCbCrSubsampleRatio420)
	plane(out.Y, width, height, img.Y[img.YOffset(part.Min.X, part.Min.Y):], img.YStride, part.Dx(), part.Dy())
	first := img.COffset(part.Min.X, part.Min.Y)
	across := img.COffset(part.Max.X-1, part.Min.Y) - first + 1
	down := (img.COffset(part.Min.X, part.Max.Y-1)-first)/img.CStride + 1
	width, height = ceil(width, 2), ceil(height, 2)
	plane(out.Cb, width, height, img.Cb[first:], img.CStride, across, down)
	plane(out.Cr, width, height, img.Cr[first:], img.CStride, across, down)
	return out
}

// plane fills width × height samples with what w × h are.
func plane(out []byte, width, height int, samples []byte, stride, w, h int) {
	a := newArea(w, h, width, height, 1, out)
	for y := range h {
		a.add(samples[y*stride:][:w])
	}
}

// area takes lines of w pixels, h of them, and fills out with lines of width pixels, height of them. A line is first added to what its
// pixels become in height, eight samples at a time, since most of the work is that.
type area struct {
	channels     int
	across, down shares
	y, row       int
	sums         []uint64 // of eight samples each two: those at even and at odd places, in 16 bits each, in 256ths
	line         []uint16 // the same in the order of the samples
	out          []byte
}

func newArea(w, h, width, height, channels int, out []byte) *area {
	a := &area{channels: channels, across: newShares(w, width, 1<<16), down: newShares(h, height, 1<<8), out: out}
	eights := ceil((w+a.across.most)*channels, 8) // beyond the line stands what has no weight
	a.sums, a.line = make([]uint64, 2*eights), make([]uint16, 8*eights)
	return a
}

// shares say what each of n samples in a line is made of w, from first on, with so many weights each.
type shares struct {
	w, n    int
	first   []int
	weights []uint32
	most    int
}

// newShares shares w by n. The weights of each are whole altogether. All have as many, a multiple of four, of which the last are zero: so
// that they are gone through without asking after each.
func newShares(w, n int, whole uint64) shares {
	s := shares{w: w, n: n, first: make([]int, n), most: 4 * ceil(ceil(w, n)+1, 4)}
	s.weights = make([]uint32, n*s.most)
	for i := range n {
		from, to := i*w, (i+1)*w // what it covers, in n-ths of a sample
		s.first[i] = from / n
		before := uint64(0)
		for j := range s.last(i) - s.first[i] + 1 {
			part := (uint64(min((s.first[i]+j+1)*n, to)-from)*whole + uint64(w)/2) / uint64(w)
			s.weights[i*s.most+j] = uint32(part - before)
			before = part
		}
	}
	return s
}

// last is the last sample that the ith covers.
func (s *shares) last(i int) int { return ((i+1)*s.w - 1) / s.n }

// add takes the next line.
func (a *area) add(samples []byte) {
	for a.row < a.down.n && a.y >= a.down.first[a.row] {
		a.weigh(samples, uint64(a.down.weights[a.row*a.down.most+a.y-a.down.first[a.row]]))
		if a.y < a.down.last(a.row) {
			break
		}
		a.complete()
		a.row++
	}
	a.y++
}

// weigh adds the samples.
func (a *area) weigh(samples []byte, weight uint64) {
	const even = 0x00ff00ff00ff00ff
	sums := a.sums
	for len(samples) >= 8 && len(sums) >= 2 {
		eight := binary.LittleEndian.Uint64(samples)
		sums[0] += (eight & even) * weight
		sums[1] += (eight >> 8 & even) * weight
		samples, sums = samples[8:], sums[2:]
	}
	for i, sample := range samples {
		sums[i%2] += uint64(sample) * weight << (i / 2 * 16)
	}
}

// complete makes a line of the sums, and begins the next.
func (a *area) complete() {
	sums := a.sums
	for line := a.line; len(line) >= 8 && len(sums) >= 2; line, sums = line[8:], sums[2:] {
		even, odd := sums[0], sums[1]
		line[0], line[1], line[2], line[3] = uint16(even), uint16(odd), uint16(even>>16), uint16(odd>>16)
		line[4], line[5], line[6], line[7] = uint16(even>>32), uint16(odd>>32), uint16(even>>48), uint16(odd>>48)
	}
	clear(a.sums)
	const half = 1 << 23 // of a sample: 256ths, and the weights are 65536ths
	out := a.out[a.row*a.across.n*a.channels:][:a.across.n*a.channels]
	weights, most := a.across.weights, a.across.most
	if a.channels == 1 {
		for i, first := range a.across.first {
			sum := uint32(half)
			for j := 0; j < most; j += 4 {
				p, w := a.line[first+j:][:4], weights[i*most+j:][:4]
				sum += uint32(p[0])*w[0] + uint32(p[1])*w[1] + uint32(p[2])*w[2] + uint32(p[3])*w[3]
			}
			out[i] = byte(sum >> 24)
		}
		return
	}
	for i, first := range a.across.first {
		r, g, b, alpha := uint32(half), uint32(half), uint32(half), uint32(half)
		for j, weight := range weights[i*most:][:most] {
			p := a.line[4*(first+j):][:4]
			r += uint32(p[0]) * weight
			g += uint32(p[1]) * weight
			b += uint32(p[2]) * weight
			alpha += uint32(p[3]) * weight
		}
		p := out[4*i:][:4]
		p[0], p[1], p[2], p[3] = byte(r>>24), byte(g>>24), byte(b>>24), byte(alpha>>24)
	}
}
