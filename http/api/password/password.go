// Package password makes and checks password hashes: argon2id in the PHC string format, and bcrypt for accounts that
// were imported. Hashing is meant to be expensive, so only a few run at a time.
package password

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"

	"github.com/matrixon/matrixon/matrix/mxerr"
)

// Parameters are the cost of a new hash.
type Parameters struct {
	MemoryKiB   uint32
	Iterations  uint32
	Parallelism uint8
}

// MaxLength bounds a password, in bytes.
const MaxLength = 512

const (
	saltLength = 16
	keyLength  = 32
	// The costs that are accepted in a stored hash, so that a forged one cannot exhaust the server.
	maxMemoryKiB   = 4 << 20
	maxIterations  = 1000
	waitingPerSlot = 16
)

// Hasher hashes with bounded use of processors and memory.
type Hasher struct {
	parameters Parameters
	slots      chan struct{} // held while hashing
	waiting    chan struct{} // held from asking to being done
	nobody     string        // the hash for accounts that do not exist
}

// New makes a hasher that runs as many hashes at once as there are processors.
func New(p Parameters) (*Hasher, error) {
	if p.MemoryKiB < 8*uint32(p.Parallelism) || p.MemoryKiB > maxMemoryKiB || p.Iterations < 1 || p.Iterations > maxIterations || p.Parallelism < 1 {
		return nil, fmt.Errorf("argon2id cannot use memory_kib %d, iterations %d, parallelism %d", p.MemoryKiB, p.Iterations, p.Parallelism)
	}
	n := runtime.GOMAXPROCS(0)
	h := &Hasher{parameters: p, slots: make(chan struct{}, n), waiting: make(chan struct{}, n*waitingPerSlot)}
	h.nobody = h.hash(rand.Text())
	return h, nil
}

// Hash gives the PHC string of a password.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	release, err := h.acquire(ctx)
	if err != nil {
		return "", err
	}
	defer release()
	return h.hash(password), nil
}

// Matches reports whether the password is that of the stored hash. An empty hash matches nothing, and takes as long.
func (h *Hasher) Matches(ctx context.Context, stored, password string) (bool, error) {
	release, err := h.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer release()
	if stored == "" || len(password) > MaxLength {
		matches(h.nobody, password[:min(len(password), MaxLength)])
		return false, nil
	}
	return matches(stored, password), nil
}

// acquire takes a slot, waiting for one unless too many wait already.
func (h *Hasher) acquire(ctx context.Context) (release func(), err error) {
	select {
	case h.waiting <- struct{}{}:
	default:
		return nil, mxerr.LimitExceeded(2000)
	}
	select {
	case h.slots <- struct{}{}:
		return func() { <-h.slots; <-h.waiting }, nil
	case <-ctx.Done():
		<-h.waiting
		return nil, ctx.Err()
	}
}

func (h *Hasher) hash(password string) string {
	var salt [saltLength]byte
	_, _ = rand.Read(salt[:]) // never fails: crypto/rand ends the program instead
	p := h.parameters
	key := argon2.IDKey([]byte(password), salt[:], p.Iterations, p.MemoryKiB, p.Parallelism, keyLength)
	b64 := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.MemoryKiB, p.Iterations, p.Parallelism,
		b64.EncodeToString(salt[:]), b64.EncodeToString(key))
}

func matches(stored, password string) bool {
	if strings.HasPrefix(stored, "$2") {
		return bcrypt.CompareHashAndPassword([]byte(stored), []byte(password)) == nil
	}
	p, salt, want, ok := parse(stored)
	if !ok {
		return false
	}
	got := argon2.IDKey([]byte(password), salt, p.Iterations, p.MemoryKiB, p.Parallelism, uint32(len(want)))
	return subtle.ConstantTimeCompare(got, want) == 1
}

// parse reads $argon2id$v=19$m=…,t=…,p=…$salt$key.
func parse(stored string) (p Parameters, salt, key []byte, ok bool) {
	parts := strings.Split(stored, "$")
	if len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return p, nil, nil, false
	}
	var costs [3]uint64
	fields := strings.Split(parts[3], ",")
	if len(fields) != 3 {
		return p, nil, nil, false
	}
	for i, name := range []string{"m=", "t=", "p="} {
		digits, found := strings.CutPrefix(fields[i], name)
		n, err := strconv.ParseUint(digits, 10, 32)
		if !found || err != nil || n == 0 {
			return p, nil, nil, false
		}
		costs[i] = n
	}
	if costs[0] > maxMemoryKiB || costs[1] > maxIterations || costs[2] > 255 {
		return p, nil, nil, false
	}
	p = Parameters{uint32(costs[0]), uint32(costs[1]), uint8(costs[2])}
	salt, err := base64.RawStdEncoding.DecodeString(parts[4])
	if err != nil || len(salt) < 8 {
		return p, nil, nil, false
	}
	key, err = base64.RawStdEncoding.DecodeString(parts[5])
	if err != nil || len(key) < 16 || len(key) > 128 {
		return p, nil, nil, false
	}
	return p, salt, key, true
}
