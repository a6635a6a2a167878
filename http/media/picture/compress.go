package picture

import (
	"bytes"
	"encoding/binary"
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

// load takes a block of a plane of w × h, and transforms its rows. Beyond its edges it goes on as it is there.
func (c *compression) load(plane []byte, w, h, x, y int) {
	var edge [8]byte
	for j := range 8 {
		line := plane[min(y+j, h-1)*w:][:w]
		in := line[min(x, w-1):]
		if len(in) < 8 {
			for i := range edge {
				edge[i] = in[min(i, len(in)-1)]
			}
			in = edge[:]
		}
		in, b := in[:8], c.block[8*j:][:8]
		b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7] = eight(level(in[0]), level(in[1]), level(in[2]), level(in[3]),
			level(in[4]), level(in[5]), level(in[6]), level(in[7]))
	}
}

func level(sample byte) float32 { return float32(int32(sample) - 128) }

// write writes the block that was loaded, of a component with a pair of tables.
func (c *compression) write(component, table int) {
	b, inverse := &c.block, &c.inverse[table]
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
	if v < 0 {
		v += 1<<size - 1
	}
	c.put(symbol.bits<<size|uint32(v), int(symbol.length)+size)
}

// put writes the lower bits, at most 32.
func (c *compression) put(bits uint32, n int) {
	c.ahead = c.ahead<<(n&63) | uint64(bits)
	if c.count += n; c.count >= 32 {
		c.four()
	}
}

// four moves four bytes of the bits ahead into out.
func (c *compression) four() {
	const ones, highs = 0x01010101, 0x80808080
	c.count -= 32
	bits := uint32(c.ahead >> (c.count & 63))
	if (^bits-ones)&bits&highs == 0 { // no byte of it is 0xff
		c.out = binary.BigEndian.AppendUint32(c.out, bits)
		return
	}
	for shift := 24; shift >= 0; shift -= 8 {
		c.byte(byte(bits >> shift))
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
