package picture

import (
	"bytes"
	"image"
	"image/jpeg"
	mathbits "math/bits"
	"sync"
)

// This file writes JPEGs (ITU-T T.81) of the planes that a thumbnail is made of. The standard library would spread the colours over all
// pixels and gather them again, and divide where multiplying does; that is half of its time. Its tables are used.

// press writes pictures of one quality.
type press struct {
	header  []byte          // up to the scan, of a picture of one pixel
	size    int             // where the height and the width stand in it
	inverse [2][64]float32  // of the quantization, in rows of eight, as the coefficients are
	order   [64]uint8       // when each is written
	codes   [2][2][256]code // of the first coefficient and the others, for brightness and for colour
}

// code is that of a symbol.
type code struct {
	bits   uint32
	length uint8
}

// thePress is that of thumbnails.
var thePress = sync.OnceValue(func() *press {
	var file bytes.Buffer
	// A picture of one pixel can be encoded, into memory, and be read by the decoder that knows such pictures.
	_ = jpeg.Encode(&file, image.NewYCbCr(image.Rect(0, 0, 1, 1), image.YCbCrSubsampleRatio420), &jpeg.Options{Quality: quality})
	model := newReduction(bytes.NewReader(file.Bytes()), 1)
	_, _ = model.decode()
	const scan, frame = "\xff\xda", "\xff\xc0"
	p := &press{header: file.Bytes()[:bytes.LastIndex(file.Bytes(), []byte(scan))+14]}
	p.size = bytes.Index(p.header, []byte(frame)) + 5
	// What the transform leaves out (Arai, Agui and Nakajima), in each direction.
	scale := [8]float64{1, 1.387039845, 1.306562965, 1.175875602, 1, 0.785694958, 0.541196100, 0.275899379}
	for i, at := range zigzag {
		p.order[at] = uint8(i)
		for table := range p.inverse {
			p.inverse[table][at] = float32(1 / (float64(model.quantization[table][i]) * scale[at/8] * scale[at%8] * 8))
		}
	}
	for class := range p.codes {
		for table := range p.codes[class] {
			p.codes[class][table] = model.codes[class][table].written()
		}
	}
	return p
})

// written gives the code of each symbol.
func (c *codes) written() (all [256]code) {
	i := int32(0)
	for length := 1; length <= 16; length++ {
		for ; c.last[length] >= i-c.offset[length]; i++ {
			all[c.symbols[i]] = code{uint32(i - c.offset[length]), uint8(length)}
		}
	}
	return all
}

// compression is one picture that is being written.
type compression struct {
	*press
	out       []byte
	ahead     uint64 // the bits that are not yet in out, at its lower end
	count     int
	block     [64]float32
	predicted [3]int32
}

// compress writes the picture of shrinkYCbCr as a JPEG.
func compress(img *image.YCbCr) []byte {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	c := &compression{press: thePress(), out: make([]byte, 0, 1024+w*h/4)}
	c.out = append(c.out, c.header...)
	size := c.out[c.size:]
	size[0], size[1], size[2], size[3] = byte(h>>8), byte(h), byte(w>>8), byte(w)
	for y := 0; y < h; y += 16 {
		for x := 0; x < w; x += 16 {
			for i := range 4 {
				c.load(img.Y, w, h, x+i%2*8, y+i/2*8)
				c.write(0, 0)
			}
			c.load(img.Cb, ceil(w, 2), ceil(h, 2), x/2, y/2)
			c.write(1, 1)
			c.load(img.Cr, ceil(w, 2), ceil(h, 2), x/2, y/2)
			c.write(2, 1)
		}
	}
	c.put(0x7f, 7) // fills the last byte
	for ; c.count >= 8; c.count -= 8 {
		c.byte(byte(c.ahead >> (c.count - 8)))
	}
	return append(c.out, 0xff, 0xd9)
}

// load takes a block of a plane of w × h. Beyond its edges it goes on as it is there.
func (c *compression) load(plane []byte, w, h, x, y int) {
	for j := range 8 {
		line := plane[min(y+j, h-1)*w:][:w]
		out := c.block[8*j:][:8]
		if x+8 <= w {
			for i, sample := range line[x:][:8] {
				out[i] = float32(int32(sample) - 128)
			}
			continue
		}
		for i := range out {
			out[i] = float32(int32(line[min(x+i, w-1)]) - 128)
		}
	}
}

// write writes the block of a component with a pair of tables.
func (c *compression) write(component, table int) {
	b, inverse := &c.block, &c.inverse[table]
	for i := 0; i < 64; i += 8 {
		b[i], b[i+1], b[i+2], b[i+3], b[i+4], b[i+5], b[i+6], b[i+7] = eight(b[i], b[i+1], b[i+2], b[i+3], b[i+4], b[i+5], b[i+6], b[i+7])
	}
	for i := range 8 {
		b[i], b[i+8], b[i+16], b[i+24], b[i+32], b[i+40], b[i+48], b[i+56] = eight(b[i], b[i+8], b[i+16], b[i+24], b[i+32], b[i+40], b[i+48], b[i+56])
	}
	const far = 1 << 14 // that all are positive, for cutting to be rounding
	var quantized [64]int32
	var some uint64 // which are not zero, in the order in which they are written
	for i := range quantized {
		v := int32(b[i]*inverse[i]+far+0.5) - far
		quantized[i] = v
		some |= uint64(uint32(v|-v)>>31) << (c.order[i] & 63)
	}
	c.value(&c.codes[0][table], 0, quantized[0]-c.predicted[component])
	c.predicted[component] = quantized[0]
	ac, before := &c.codes[1][table], 0
	for some &^= 1; some != 0; some &= some - 1 {
		i := mathbits.TrailingZeros64(some)
		zeros := i - before - 1
		for ; zeros > 15; zeros -= 16 {
			c.put(ac[0xf0].bits, int(ac[0xf0].length))
		}
		c.value(ac, zeros, quantized[zigzag[i]&63])
		before = i
	}
	if before < 63 {
		c.put(ac[0].bits, int(ac[0].length))
	}
}

// value writes a coefficient after zeros (F.1.2.2).
func (c *compression) value(table *[256]code, zeros int, v int32) {
	size := mathbits.Len32(uint32(max(v, -v)))
	symbol := table[zeros<<4|size]
	c.put(symbol.bits, int(symbol.length))
	if v < 0 {
		v += 1<<size - 1
	}
	c.put(uint32(v), size)
}

// put writes the lower bits, at most 16.
func (c *compression) put(bits uint32, n int) {
	c.ahead = c.ahead<<n | uint64(bits)
	for c.count += n; c.count >= 8; c.count -= 8 {
		c.byte(byte(c.ahead >> (c.count - 8)))
	}
}

func (c *compression) byte(b byte) {
	c.out = append(c.out, b)
	if b == 0xff {
		c.out = append(c.out, 0) // it is no marker
	}
}

// eight transforms eight samples, but for the factors in press.inverse.
func eight(a, b, c, d, e, f, g, h float32) (float32, float32, float32, float32, float32, float32, float32, float32) {
	const half, quarter, eighth = 0.541196100, 0.707106781, 0.382683433 // √2 · sin π/8, sin π/4, sin π/8
	ah, bg, cf, de := a+h, b+g, c+f, d+e
	outer, inner := ah+de, bg+cf
	odd := (bg - cf + ah - de) * quarter
	ah -= de
	hA, gB, fC, eD := a-h, b-g, c-f, d-e
	x, y, z := eD+fC, fC+gB, gB+hA
	shared := (x - z) * eighth
	low, high, middle := x*half+shared, z*1.306562965+shared, y*quarter
	plus, minus := hA+middle, hA-middle
	return outer + inner, plus + high, ah + odd, minus - low, outer - inner, minus + low, ah - odd, plus - high
}
