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
	channels int
	down     shares
	across   cuts
	y, row   int
	sums     []uint64 // of eight samples each two: those at even and at odd places, in 16 bits each, in 256ths
	running  []uint32 // by channel, the sum of the samples in the line up to each, in 256ths
	out      []byte
}

func newArea(w, h, width, height, channels int, out []byte) *area {
	eights := ceil(w*channels, 8)
	return &area{channels: channels, down: newShares(h, height), across: newCuts(w, width), out: out,
		sums: make([]uint64, 2*eights), running: make([]uint32, 8*eights+2*channels)}
}

// shares say what each of n lines is made of h: those from first to last, with weights that are 256 altogether.
type shares struct {
	first, last []int
	weights     []uint64
	begin       []int // of the weights of each
}

func newShares(h, n int) shares {
	const whole = 256
	s := shares{first: make([]int, n), last: make([]int, n), begin: make([]int, n), weights: make([]uint64, 0, h+n)}
	for i := range n {
		from, to := i*h, (i+1)*h // what it covers, in n-ths of a line
		s.first[i], s.last[i], s.begin[i] = from/n, (to-1)/n, len(s.weights)
		before := 0
		for y := s.first[i]; y <= s.last[i]; y++ {
			part := ((min((y+1)*n, to)-from)*whole + h/2) / h
			s.weights = append(s.weights, uint64(part-before))
			before = part
		}
	}
	return s
}

// cuts say where a line of w is cut to become n: at which pixels, and in which 65536th of each.
type cuts struct {
	at, part []uint32
	inverse  uint64 // of how long a piece is, times 1 << 32
}

func newCuts(w, n int) cuts {
	c := cuts{at: make([]uint32, n), part: make([]uint32, n), inverse: (uint64(n)<<32 + uint64(w)/2) / uint64(w)}
	for i := range n { // where it ends
		c.at[i], c.part[i] = uint32((i+1)*w/n), uint32((i+1)*w%n<<16/n)
	}
	return c
}

// add takes the next line.
func (a *area) add(samples []byte) {
	for a.row < len(a.down.first) && a.y >= a.down.first[a.row] {
		a.weigh(samples, a.down.weights[a.down.begin[a.row]+a.y-a.down.first[a.row]])
		if a.y < a.down.last[a.row] {
			break
		}
		if a.channels == 1 {
			a.complete()
		} else {
			a.complete4()
		}
		clear(a.sums)
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

// complete makes a line of the sums. A pixel is the mean of the samples between two cuts, which is the difference of how much there is up to
// each.
func (a *area) complete() {
	sum, running := uint32(0), a.running[1:]
	for sums := a.sums; len(sums) >= 2 && len(running) >= 8; sums, running = sums[2:], running[8:] {
		even, odd := sums[0], sums[1]
		running[0] = sum + uint32(uint16(even))
		running[1] = running[0] + uint32(uint16(odd))
		running[2] = running[1] + uint32(uint16(even>>16))
		running[3] = running[2] + uint32(uint16(odd>>16))
		running[4] = running[3] + uint32(uint16(even>>32))
		running[5] = running[4] + uint32(uint16(odd>>32))
		running[6] = running[5] + uint32(even>>48)
		running[7] = running[6] + uint32(odd>>48)
		sum = running[7]
	}
	n := len(a.across.at)
	out, part, before := a.out[a.row*n:][:n], a.across.part[:n], uint64(0)
	for i, at := range a.across.at {
		up := a.running[at:][:2]
		here := uint64(up[0])<<16 + uint64(up[1]-up[0])*uint64(part[i])
		out[i] = a.across.mean(here - before)
		before = here
	}
}

// mean is the sample that a piece of a line becomes.
func (c *cuts) mean(piece uint64) byte { return byte((piece>>16*c.inverse + 1<<39) >> 40) }

// complete4 is complete for pixels of four samples.
func (a *area) complete4() {
	var r, g, b, alpha uint32
	running := a.running[4:]
	for sums := a.sums; len(sums) >= 2 && len(running) >= 8; sums, running = sums[2:], running[8:] {
		even, odd := sums[0], sums[1]
		for i := 0; i < 8; i += 4 {
			r, g, b, alpha = r+uint32(uint16(even)), g+uint32(uint16(odd)), b+uint32(uint16(even>>16)), alpha+uint32(uint16(odd>>16))
			running[i], running[i+1], running[i+2], running[i+3] = r, g, b, alpha
			even, odd = even>>32, odd>>32
		}
	}
	n := len(a.across.at)
	out, before := a.out[4*a.row*n:][:4*n], [4]uint64{}
	for i, at := range a.across.at {
		up, part, pixel := a.running[4*at:][:8], uint64(a.across.part[i]), out[4*i:][:4]
		for c := range 4 {
			here := uint64(up[c])<<16 + uint64(up[c+4]-up[c])*part
			pixel[c] = a.across.mean(here - before[c])
			before[c] = here
		}
	}
}
