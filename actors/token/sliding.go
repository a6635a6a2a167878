package token

import (
	"hash/fnv"

	"github.com/matrixon/matrixon/matrix/mxerr"
)

// Sliding is the pos of simplified sliding sync (MSC4186): what a connection had been sent with the answer that gave it out.
type Sliding struct {
	// Pos: everything committed at or below it was looked at.
	Pos uint64
	// Epoch and Serial name the answer among all of the user's.
	Epoch, Serial uint64
	// Owner is of the user, the device and the connection; see Owner.
	Owner uint64
}

const slidingPrefix = "s1_"

func (t Sliding) String() string {
	return write(slidingPrefix, t.Pos, t.Epoch, t.Serial, t.Owner)
}

// Owner tells the tokens of connections apart. It is no secret and guards nothing: tokens are compared with what was given out.
func Owner(userID, deviceID, connID string) uint64 {
	h := fnv.New32a()
	for _, part := range [...]string{userID, deviceID, connID} {
		_, _ = h.Write([]byte(part))
		_, _ = h.Write([]byte{0})
	}
	return uint64(h.Sum32())
}

// ParseSliding reads a token that String wrote; the error is 400 M_UNKNOWN_POS.
func ParseSliding(s string) (Sliding, error) {
	var n [4]uint64
	if !read(s, slidingPrefix, n[:]) {
		return Sliding{}, ErrUnknownPos
	}
	return Sliding{Pos: n[0], Epoch: n[1], Serial: n[2], Owner: n[3]}, nil
}

// ErrUnknownPos makes a client begin anew, without pos.
var ErrUnknownPos = mxerr.New(400, "M_UNKNOWN_POS", "the connection is not at this position, or no longer known; start again without pos")
