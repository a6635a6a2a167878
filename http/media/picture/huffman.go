package picture

import (
	"encoding/binary"
	"io"
)

// bits reads the bits of a scan (ITU-T T.81, F.2.2.5). After the end, and at a marker, they are zero.
type bits struct {
	r          io.Reader
	buffer     []byte
	at, filled int
	end        bool // there was nothing more to read

	ahead   uint64 // the bits that come next, from the highest
	count   int    // how many of them there are
	padding int    // how many of these were made up
	marked  bool   // a marker follows them, whose 0xff and code have been read
	mark    byte
}

// byte reads a byte outside of a scan.
func (b *bits) byte() byte {
	if b.at == b.filled {
		if b.end {
			return 0
		}
		n, err := io.ReadAtLeast(b.r, b.buffer, 1)
		b.at, b.filled = 0, n
		if err != nil {
			b.end, b.filled = true, 0
			return 0
		}
	}
	c := b.buffer[b.at]
	b.at++
	return c
}

// more gives these bits and those after them, more than 56 altogether. Whoever decodes keeps them at hand himself.
func (b *bits) more(ahead uint64, count int) (uint64, int) {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	if !b.marked && b.at+8 <= b.filled {
		next := binary.BigEndian.Uint64(b.buffer[b.at:])
		if (^next-ones)&next&highs == 0 { // no byte of it is 0xff
			whole := (64 - count) >> 3
			b.at += whole
			return ahead | next>>count, count + 8*whole // behind them stand bits of the next byte, which come again
		}
	}
	for count <= 56 {
		var c byte
		if b.at < b.filled && b.buffer[b.at] != 0xff && !b.marked {
			c = b.buffer[b.at]
			b.at++
		} else {
			c = b.stuffed()
		}
		ahead |= uint64(c) << (56 - count)
		count += 8
	}
	return ahead, count
}

// stuffed reads a byte of which 0xff is followed by 0, unless it begins a marker.
func (b *bits) stuffed() byte {
	if !b.marked {
		c := b.byte()
		if c != 0xff {
			return c
		}
		if b.mark = b.byte(); b.mark == 0 {
			return c
		}
		b.marked = true
	}
	b.padding += 8
	return 0
}

func (b *bits) drop(n int) {
	b.ahead <<= n
	b.count -= n
}

// value reads a signed number of so many bits, at most 15, after a code (F.2.2.1).
func (b *bits) value(size byte) int32 {
	size &= 15
	v := int32(b.ahead >> 1 >> (63 - size))
	b.ahead <<= size
	b.count -= int(size)
	if size > 0 && v>>(size-1) == 0 { // those whose first bit is 0 are negative
		v -= 1<<size - 1
	}
	return v
}

// boundary takes the marker that must come now, after what fills the last byte.
func (b *bits) boundary() (mark byte, ok bool) {
	if b.count-b.padding >= 8 {
		return 0, false
	}
	if !b.marked {
		b.stuffed()
	}
	ok = b.marked
	b.ahead, b.count, b.padding, b.marked = 0, 0, 0, false
	return b.mark, ok
}

// shortCode is the length of the codes that are found at once.
const shortCode = 9

// codes are a table of Huffman codes.
type codes struct {
	short   [1 << shortCode]uint16 // the length and the symbol of the code with which such bits begin; 0: it is longer
	last    [17]int32              // the last code of each length; −1: there is none
	offset  [17]int32              // of the symbols of each length, to which the code is added
	symbols []byte

	// What quick bits say, once prepare has been called. Zero: not enough.
	pairs    [1 << quick]pair
	passed   [1 << quick]uint16 // of as many coefficients as there are: in four bits the bits that they take, in eight how many they are with the zeros, and last
	prepared bool
}

const (
	quick = 11      // bits of coefficients that are looked at together
	last  = 1 << 15 // nothing follows in the block
)

// pair is one coefficient, or two, or last, or either of them and last. From the lowest: in four bits the bits that they take, in four the
// zeros before the one, in five how far the other is from it, at last's place whether nothing follows, and from bits 16 and 32 their values. What there is not is zero.
type pair uint64

// pairOne is a pair with one coefficient.
func pairOne(zeros byte, value int32) pair { return pair(zeros)<<4 | pair(uint16(value))<<16 }

// add adds the other coefficient.
func (p pair) add(zeros byte, value int32) pair {
	return p | pair(zeros+1)<<8 | pair(uint16(value))<<32
}

// taking says how many bits it takes.
func (p pair) taking(bits int) pair { return p&^15 | pair(bits) }

// prepare fills pairs, and passed. Where they are of first coefficients, each is all that there is.
func (c *codes) prepare(first bool) {
	if c.prepared {
		return
	}
	c.prepared = true
	for i := range c.pairs {
		b, passed := bits{ahead: uint64(i) << (64 - quick), count: 64}, 0
		for n := 0; ; n++ {
			symbol, ok := b.code(c)
			run, size := symbol>>4, symbol&15
			if first {
				run, size = 0, symbol
			}
			if taken := 64 - b.count + int(size); !ok || taken > quick || size == 0 && run == 15 {
				break
			}
			value := b.value(size)
			taken := 64 - b.count
			if first {
				c.pairs[i] = pairOne(0, value).taking(taken)
				break
			}
			if size == 0 {
				if n <= 2 {
					c.pairs[i] = c.pairs[i].taking(taken) | last
				}
				c.passed[i] = last | uint16(passed<<4|taken)
				break
			}
			switch n {
			case 0:
				c.pairs[i] = pairOne(run, value).taking(taken)
			case 1:
				c.pairs[i] = c.pairs[i].add(run, value).taking(taken)
			}
			passed += int(run) + 1
			c.passed[i] = uint16(passed<<4 | taken)
		}
	}
}

func (d *reduction) readCodes(s []byte) error {
	for len(s) > 0 {
		if len(s) < 17 || s[0]>>4 > 1 || s[0]&15 > 3 {
			return errUnknown
		}
		total := 0
		for _, n := range s[1:17] {
			total += int(n)
		}
		if total > 256 || len(s) < 17+total {
			return errUnknown
		}
		table := &codes{symbols: s[17 : 17+total : 17+total]}
		code, index := int32(0), int32(0)
		for length := 1; length <= 16; length++ {
			n := int32(s[length])
			if code+n > 1<<length {
				return errUnknown
			}
			table.offset[length], table.last[length] = index-code, code+n-1
			if n == 0 {
				table.last[length] = -1
			}
			for range n {
				if length <= shortCode {
					from := code << (shortCode - length)
					for i := range int32(1) << (shortCode - length) {
						table.short[from+i] = uint16(length)<<8 | uint16(table.symbols[index])
					}
				}
				code++
				index++
			}
			code <<= 1
		}
		d.codes[s[0]>>4][s[0]&15] = table
		s = s[17+total:]
	}
	return nil
}

// code reads a symbol (F.2.2.3). Then there are bits ahead for a value.
func (b *bits) code(t *codes) (byte, bool) {
	if b.count < 32 {
		b.ahead, b.count = b.more(b.ahead, b.count)
	}
	if short := t.short[b.ahead>>(64-shortCode)]; short != 0 {
		b.drop(int(short >> 8))
		return byte(short), true
	}
	for length := shortCode + 1; length <= 16; length++ {
		code := int32(b.ahead >> (64 - length))
		if t.last[length] >= 0 && code <= t.last[length] && int(t.offset[length]+code) >= 0 && int(t.offset[length]+code) < len(t.symbols) {
			b.drop(length)
			return t.symbols[t.offset[length]+code], true
		}
	}
	return 0, false
}
