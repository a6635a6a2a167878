package pdus

import (
	"errors"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// largestValue is how many bytes one value of a long answer may have, and what is between two. An event has a 64th of it at most.
const largestValue = 4 << 20

var errLargeValue = errors.New("a value is too large")

// Decoder reads a long answer of another server value by value. However long the answer is, no more of it than one value is in memory.
type Decoder struct {
	d  *jsontext.Decoder
	in *allowance
}

// NewDecoder reads from r.
func NewDecoder(r io.Reader) *Decoder {
	in := &allowance{r: r}
	return &Decoder{d: jsontext.NewDecoder(in), in: in}
}

// PeekKind is the kind of the next token, invalid at the end of what can be read.
func (d *Decoder) PeekKind() jsontext.Kind {
	d.in.left = largestValue
	return d.d.PeekKind()
}

// ReadToken reads a token.
func (d *Decoder) ReadToken() (jsontext.Token, error) {
	d.in.left = largestValue
	return d.d.ReadToken()
}

// ReadValue reads a value, which is good until the next is read.
func (d *Decoder) ReadValue() (jsontext.Value, error) {
	d.in.left = largestValue
	return d.d.ReadValue()
}

// SkipValue passes over a value of any length.
func (d *Decoder) SkipValue() error {
	for depth := d.d.StackDepth(); ; {
		if _, err := d.ReadToken(); err != nil {
			return err
		}
		if d.d.StackDepth() <= depth {
			return nil
		}
	}
}

// allowance is a reader that gives so many bytes, and then an error.
type allowance struct {
	r    io.Reader
	left int
}

// Read implements io.Reader.
func (a *allowance) Read(p []byte) (int, error) {
	if a.left <= 0 {
		return 0, errLargeValue
	}
	n, err := a.r.Read(p[:min(len(p), a.left)])
	a.left -= n
	return n, err
}
