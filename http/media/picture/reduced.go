package picture

import (
	"encoding/binary"
	"errors"
	"image"
	"io"
)

// This file decodes JPEGs at a half, a quarter or an eighth of their size (ITU-T T.81): of each block of 8 × 8 coefficients only the
// 4 × 4, 2 × 2 or 1 that make that picture are transformed, which is most of the work of a thumbnail. It knows what cameras make:
// baseline, 8 bits, grey or YCbCr in one interleaved scan. All else, and everything that is wrong, is left to the standard library, so
// that it alone decides what is a picture.

// errUnknown says that the picture is not for this decoder.
var errUnknown = errors.New("not a baseline JPEG as cameras make them")

// layer is one of the planes of a picture that is being reduced.
type layer struct {
	id           byte
	h, v         int // samples in a unit of the scan, across and down
	table        byte
	dc, ac       byte
	predicted    int32
	plane        []byte
	stride       int
	quantization *[64]int32
}

// reduction decodes one picture.
type reduction struct {
	bits
	side          int // of what becomes of a block: 4, 2 or 1
	width, height int // of the whole picture
	components    []layer
	quantization  [4]*[64]int32
	codes         [2][4]*codes // for the first coefficient and the others
	interval      int          // units between restarts, 0: none
	found         coefficients // of the block at hand
}

// reduce decodes a JPEG of which each 8 × 8 pixels become side × side. errUnknown says that the picture is none for it.
func reduce(r io.Reader, side int) (*image.YCbCr, error) { return newReduction(r, side).decode() }

func newReduction(r io.Reader, side int) *reduction {
	return &reduction{side: side, bits: bits{r: r, buffer: make([]byte, readAhead)}}
}

func (d *reduction) decode() (*image.YCbCr, error) {
	if d.byte() != 0xff || d.byte() != 0xd8 {
		return nil, errUnknown
	}
	for {
		marker, ok := d.marker()
		if !ok {
			return nil, errUnknown
		}
		length := int(d.byte())<<8 | int(d.byte())
		if length < 2 || d.end {
			return nil, errUnknown
		}
		segment := make([]byte, length-2)
		for i := range segment {
			segment[i] = d.byte()
		}
		var err error
		switch {
		case marker == 0xc4:
			err = d.readCodes(segment)
		case marker == 0xdb:
			err = d.readQuantization(segment)
		case marker == 0xdd && len(segment) == 2:
			d.interval = int(segment[0])<<8 | int(segment[1])
		case marker == 0xc0 || marker == 0xc1:
			err = d.readFrame(segment)
		case marker == 0xda:
			return d.scan(segment)
		case marker >= 0xe0 && marker <= 0xef && !(marker == 0xee && len(segment) >= 5 && string(segment[:5]) == "Adobe"), marker == 0xfe:
			// What applications add, but for that which says that the colours are others.
		default:
			err = errUnknown
		}
		if err != nil || d.end {
			return nil, errUnknown
		}
	}
}

// marker reads the next marker.
func (d *reduction) marker() (byte, bool) {
	if d.byte() != 0xff {
		return 0, false
	}
	for !d.end {
		if m := d.byte(); m != 0xff {
			return m, m != 0
		}
	}
	return 0, false
}

func (d *reduction) readQuantization(s []byte) error {
	for len(s) > 0 {
		if s[0] > 3 || len(s) < 65 { // the high nibble says that the numbers have 16 bits
			return errUnknown
		}
		table := new([64]int32)
		for i, q := range s[1:65] {
			table[i] = int32(q)
		}
		d.quantization[s[0]] = table
		s = s[65:]
	}
	return nil
}

func (d *reduction) readFrame(s []byte) error {
	const most = 1 << 16
	if d.components != nil || len(s) < 6 || s[0] != 8 || s[5] != 1 && s[5] != 3 || len(s) != 6+3*int(s[5]) {
		return errUnknown
	}
	d.height, d.width = int(s[1])<<8|int(s[2]), int(s[3])<<8|int(s[4])
	if d.height == 0 || d.width == 0 || d.height >= most || d.width >= most {
		return errUnknown
	}
	for s = s[6:]; len(s) > 0; s = s[3:] {
		c := layer{id: s[0], h: int(s[1] >> 4), v: int(s[1] & 15), table: s[2]}
		if c.table > 3 || len(d.components) > 0 && (c.h != 1 || c.v != 1) || c.h < 1 || c.h > 2 || c.v < 1 || c.v > 2 {
			return errUnknown
		}
		d.components = append(d.components, c)
	}
	if len(d.components) == 1 { // alone it is not interleaved, whatever its sampling
		d.components[0].h, d.components[0].v = 1, 1
	} else if d.components[0].id == 'R' {
		return errUnknown // RGB
	}
	return nil
}

// scan decodes the picture itself.
func (d *reduction) scan(s []byte) (*image.YCbCr, error) {
	n := len(d.components)
	if n == 0 || len(s) != 4+2*n || int(s[0]) != n {
		return nil, errUnknown
	}
	for i := range d.components {
		c := &d.components[i]
		if s[1+2*i] != c.id || s[2+2*i]>>4 > 3 || s[2+2*i]&15 > 3 {
			return nil, errUnknown
		}
		c.dc, c.ac, c.quantization = s[2+2*i]>>4, s[2+2*i]&15, d.quantization[c.table]
		if d.codes[0][c.dc] == nil || d.codes[1][c.ac] == nil || c.quantization == nil {
			return nil, errUnknown
		}
		d.codes[0][c.dc].prepare(true)
		d.codes[1][c.ac].prepare(false)
	}
	luma := &d.components[0]
	across, down := ceil(d.width, 8*luma.h), ceil(d.height, 8*luma.v)
	for i := range d.components {
		c := &d.components[i]
		c.stride = across * c.h * d.side
		c.plane = make([]byte, c.stride*down*c.v*d.side)
	}
	left := d.interval // units before the next restart
	for y := range down {
		for x := range across {
			if d.interval > 0 {
				if left == 0 && !d.restart((y*across+x)/d.interval-1) {
					return nil, errUnknown
				} else if left == 0 {
					left = d.interval
				}
				left--
			}
			if !d.unit(x, y) {
				return nil, errUnknown
			}
		}
	}
	if mark, ok := d.boundary(); !ok || mark != 0xd9 {
		return nil, errUnknown
	}
	return d.picture(), nil
}

// unit decodes what the scan interleaves: the blocks of each component at one place.
func (d *reduction) unit(x, y int) bool {
	for i := range d.components {
		c := &d.components[i]
		for line := y * c.v; line < y*c.v+c.v; line++ {
			at := (line*c.stride + x*c.h) * d.side
			for range c.h {
				if !d.block(c, c.plane[at:]) {
					return false
				}
				at += d.side
			}
		}
	}
	return true
}

func ceil(n, of int) int { return (n + of - 1) / of }

// restart takes the nth marker between two intervals.
func (d *reduction) restart(n int) bool {
	if mark, ok := d.boundary(); !ok || mark != 0xd0+byte(n%8) {
		return false
	}
	for i := range d.components {
		d.components[i].predicted = 0
	}
	return true
}

// picture puts the planes together.
func (d *reduction) picture() *image.YCbCr {
	luma := &d.components[0]
	img := &image.YCbCr{Y: luma.plane, YStride: luma.stride, SubsampleRatio: image.YCbCrSubsampleRatio444,
		Rect: image.Rect(0, 0, ceil(d.width*d.side, 8), ceil(d.height*d.side, 8))}
	if len(d.components) == 1 {
		img.CStride = luma.stride
		img.Cb = make([]byte, len(luma.plane))
		for i := range img.Cb {
			img.Cb[i] = 128
		}
		img.Cr = img.Cb
		return img
	}
	img.Cb, img.Cr, img.CStride = d.components[1].plane, d.components[2].plane, d.components[1].stride
	switch {
	case luma.h == 2 && luma.v == 2:
		img.SubsampleRatio = image.YCbCrSubsampleRatio420
	case luma.h == 2:
		img.SubsampleRatio = image.YCbCrSubsampleRatio422
	case luma.v == 2:
		img.SubsampleRatio = image.YCbCrSubsampleRatio440
	}
	return img
}

// zigzag says where the coefficients that come one after the other belong, in rows of eight.
var zigzag = func() (to [64]byte) {
	x, y, up := 0, 0, true
	for i := range to {
		to[i] = byte(8*y + x)
		switch {
		case up && x == 7:
			y, up = y+1, false
		case up && y == 0:
			x, up = x+1, false
		case !up && y == 7:
			x, up = x+1, true
		case !up && x == 0:
			y, up = y+1, true
		case up:
			x, y = x+1, y-1
		default:
			x, y = x-1, y+1
		}
	}
	return to
}()

// needed is how many coefficients make a picture of so many pixels a side, with those between them.
func needed(side int) int {
	switch side {
	case 4:
		return 25
	case 2:
		return 5
	}
	return 1
}

// coefficients are those of a block in the order in which they come. After those that are needed stands what nobody reads.
type coefficients [64]int32

// block decodes a block and puts what becomes of it where out begins.
func (d *reduction) block(c *layer, out []byte) bool {
	f := &d.found
	clear(f[:needed(4)])
	difference, ok := d.difference(d.codes[0][c.dc])
	if !ok {
		return false
	}
	c.predicted += difference
	f[0] = c.predicted * c.quantization[0]
	k, flat, ok := d.read(c, f)
	if !ok || k < 64 && !d.pass(d.codes[1][c.ac], k) {
		return false
	}
	if d.end || d.count < d.padding {
		return false // there was less than that
	}
	d.transform(f, flat, out, c.stride)
	return true
}

// difference reads the first coefficient, which is told by how it differs from that of the block before.
func (d *reduction) difference(dc *codes) (int32, bool) {
	if d.count < 32 {
		d.ahead, d.count = d.more(d.ahead, d.count)
	}
	if found := dc.pairs[d.ahead>>(64-quick)]; found != 0 {
		d.drop(int(found & 15))
		return int32(int16(found >> 16)), true
	}
	size, ok := d.code(dc)
	if !ok || size > 11 {
		return 0, false
	}
	return d.value(size), true
}

// read reads the coefficients that are needed, and says at which it stopped, 64 when nothing follows, and whether there were none.
func (d *reduction) read(c *layer, f *coefficients) (k int, flat, ok bool) {
	ac, quantization, most := d.codes[1][c.ac], c.quantization, needed(d.side)
	ahead, count := d.ahead, d.count // at hand, since this is where the time goes
	for k = 1; k < most; k++ {
		if count < 32 {
			ahead, count = d.more(ahead, count)
		}
		if found := ac.pairs[ahead>>(64-quick)]; found != 0 {
			ahead <<= found & 15
			count -= int(found & 15)
			// What there is not is nothing, added to a place that is within the block: telling it apart would take longer. None is
			// beyond it, since k was less than 25, of 64.
			one := k + int(found>>4&15)
			f[one&63] += int32(int16(found>>16)) * quantization[one&63]
			other := one + int(found>>8&31)
			f[other&63] += int32(int16(found>>32)) * quantization[other&63]
			if found&last != 0 {
				d.ahead, d.count = ahead, count
				return 64, k == 1 && found>>16 == 0, true
			}
			k = other
			continue
		}
		d.ahead, d.count = ahead, count
		both, ok := d.code(ac)
		if !ok {
			return 0, false, false
		}
		run, size := both>>4, both&15
		if size == 0 && run != 15 {
			return 64, k == 1, true
		}
		if k += int(run); k > 63 && size > 0 {
			return 0, false, false
		}
		if size > 0 {
			f[k] = d.value(size) * quantization[k]
		}
		ahead, count = d.ahead, d.count
	}
	d.ahead, d.count = ahead, count
	return k, most == 1, true
}

// pass reads the coefficients from k on.
func (d *reduction) pass(ac *codes, k int) bool {
	ahead, count := d.ahead, d.count
	for k < 64 {
		if count < 32 {
			ahead, count = d.more(ahead, count)
		}
		found := ac.passed[ahead>>(64-quick)]
		after := k + int(found>>4&0xff)
		if found >= last && after < 64 {
			d.ahead, d.count = ahead<<(found&15), count-int(found&15)
			return true
		}
		if found != 0 && found < last && after <= 64 {
			ahead <<= found & 15
			count -= int(found & 15)
			k = after
			continue
		}
		d.ahead, d.count = ahead, count
		both, ok := d.code(ac)
		if !ok {
			return false
		}
		run, size := both>>4, both&15
		if size == 0 && run != 15 {
			return true
		}
		if k += int(run); k > 63 && size > 0 {
			return false
		}
		d.drop(int(size))
		ahead, count = d.ahead, d.count
		k++
	}
	d.ahead, d.count = ahead, count
	return true
}

// The parts of the orthonormal inverse transform of four, times the square root of the factor 4/8, times 1 << 10: √½ · ½, ½ · cos π/8 and
// ½ · cos 3π/8.
const even, odd1, odd3 = 362, 473, 196

// four transforms four coefficients.
func four(a, b, c, e int32) (int32, int32, int32, int32) {
	sum, difference := (a+c)*even, (a-c)*even
	outer, inner := b*odd1+e*odd3, b*odd3-e*odd1
	return sum + outer, difference + inner, difference - inner, sum - outer
}

// transform makes pixels of coefficients; flat says that all but the first are zero.
func (d *reduction) transform(f *coefficients, flat bool, out []byte, stride int) {
	switch {
	case flat && d.side == 4:
		v := uint32(sample(f[0]<<7, 10)) * 0x01010101
		for y := range 4 {
			binary.LittleEndian.PutUint32(out[y*stride:], v)
		}
		return
	case flat || d.side == 1:
		v := sample(f[0]<<7, 10)
		for y := range d.side {
			for x := range d.side {
				out[y*stride+x] = v
			}
		}
		return
	case d.side == 2:
		// The transform of two is sums and differences: each orthonormal by 1/2 of all four, and the factor is 2/8.
		a, b, c, e := f[0], f[1], f[2], f[4]
		out[0], out[1] = sample((a+b+c+e)<<7, 10), sample((a-b+c-e)<<7, 10)
		out[stride], out[stride+1] = sample((a+b-c-e)<<7, 10), sample((a-b-c+e)<<7, 10)
		return
	}
	// Along each column of coefficients, of which six bits of the ten are kept, and then along each row.
	var t [16]int32
	t[0], t[1], t[2], t[3] = four(f[0], f[2], f[3], f[9])
	t[4], t[5], t[6], t[7] = four(f[1], f[4], f[8], f[11])
	t[8], t[9], t[10], t[11] = four(f[5], f[7], f[12], f[18])
	t[12], t[13], t[14], t[15] = four(f[6], f[13], f[17], f[24])
	for y := range 4 {
		a, b, c, e := four(t[y]>>4, t[4+y]>>4, t[8+y]>>4, t[12+y]>>4)
		samples(out[y*stride:], a, b, c, e)
	}
}

// samples makes four pixels, each of its distance from the middle times 1 << 16.
func samples(out []byte, a, b, c, e int32) {
	const middle = 128<<16 + 1<<15
	a, b, c, e = (a+middle)>>16, (b+middle)>>16, (c+middle)>>16, (e+middle)>>16
	if uint32(a|b|c|e) > 255 {
		a, b, c, e = min(max(a, 0), 255), min(max(b, 0), 255), min(max(c, 0), 255), min(max(e, 0), 255)
	}
	binary.LittleEndian.PutUint32(out, uint32(a)|uint32(b)<<8|uint32(c)<<16|uint32(e)<<24)
}

// sample makes a pixel of its distance from the middle, times 1 << shift.
func sample(v int32, shift int) byte {
	return byte(min(max((v+1<<(shift-1))>>shift+128, 0), 255))
}
