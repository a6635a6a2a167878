// Package verify checks what a PDU says about itself, before its room has a say: the format of its room version, its content
// hash, and the signatures of all servers that must have signed it (server-server API, "Checks performed on receipt of a PDU", 1 to
// 3, and "Validating hashes and signatures on received events").
package verify

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/matrix/auth"
	"github.com/matrixon/matrixon/matrix/event"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/roomversion"
)

// The bounds of one check.
const (
	// triedKeys is how many of one server's signatures on an event are looked at: each may cost a request for its key.
	triedKeys = 4
	// waiting is how many PDUs of one call wait for keys at a time.
	waiting = 64
)

// Verifier checks PDUs. The work on the processor is done by a bounded number of goroutines for all callers together; waiting for
// keys takes no place among them, so that a server whose keys are slow delays its own events only. It is safe for concurrent use.
type Verifier struct {
	keys  federation.Keys
	slots chan struct{}
}

// New makes a verifier that keeps at most this many processors busy; 0 is all of them.
func New(keys federation.Keys, workers int) *Verifier {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	return &Verifier{keys: keys, slots: make(chan struct{}, workers)}
}

// Result is what became of one PDU: the event, or the error why it must be dropped.
type Result struct {
	Event *event.Event
	Err   error
}

// PDU checks one PDU. An event whose content hash is wrong comes back redacted (event.Event.HashOK). Errors are *mxerr.Error: 400
// M_BAD_JSON and 413 M_TOO_LARGE for a wrong format, 403 M_FORBIDDEN for signatures that are missing or wrong or whose key nobody
// gives; or the context's.
func (v *Verifier) PDU(ctx context.Context, raw []byte, version *roomversion.Version) (*event.Event, error) {
	return v.pdu(ctx, raw, version, "")
}

// Draft is PDU for an event that this server has yet to sign, and the others have signed: a join that it authorises.
func (v *Verifier) Draft(ctx context.Context, raw []byte, version *roomversion.Version, own string) (*event.Event, error) {
	return v.pdu(ctx, raw, version, own)
}

func (v *Verifier) pdu(ctx context.Context, raw []byte, version *roomversion.Version, but string) (*event.Event, error) {
	var e *event.Event
	err := v.work(ctx, func() (err error) {
		e, err = event.Parse(raw, version)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := v.signatures(ctx, e, but); err != nil {
		return nil, err
	}
	return e, nil
}

// PDUs checks many of one room version; the results stand in the order of the PDUs.
func (v *Verifier) PDUs(ctx context.Context, raws [][]byte, version *roomversion.Version) []Result {
	results := make([]Result, len(raws))
	next := make(chan int)
	var wg sync.WaitGroup
	for range min(waiting, len(raws)) {
		wg.Go(func() {
			for i := range next {
				e, err := v.PDU(ctx, raws[i], version)
				results[i] = Result{Event: e, Err: err}
			}
		})
	}
	for i := range raws {
		next <- i
	}
	close(next)
	wg.Wait()
	return results
}

// Signatures checks that every server that must have signed the event has, with a key that was valid then. Errors are as of PDU.
func (v *Verifier) Signatures(ctx context.Context, e *event.Event) error {
	return v.signatures(ctx, e, "")
}

func (v *Verifier) signatures(ctx context.Context, e *event.Event, but string) error {
	signatures := e.Signatures()
	for _, server := range auth.Signers(e) {
		if server == but {
			continue
		}
		if err := v.signedBy(ctx, e, server, signatures[server]); err != nil {
			return err
		}
	}
	return nil
}

// signedBy checks that one of the server's signatures is right.
func (v *Verifier) signedBy(ctx context.Context, e *event.Event, server string, signatures map[string]string) error {
	refusal := error(mxerr.Forbidden("the event %s is not signed by %q", e.ID(), server))
	tried := 0
	for _, keyID := range slices.Sorted(maps.Keys(signatures)) {
		if !strings.HasPrefix(keyID, "ed25519:") {
			continue
		}
		if tried++; tried > triedKeys {
			break
		}
		key, err := v.keys.Key(ctx, server, keyID, validAt(e))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			refusal = mxerr.Forbidden("the event %s is signed by %s with the key %s, which cannot be had: %v", e.ID(), server, keyID, reason(err))
			if errors.Is(err, federation.ErrKeyUnavailable) {
				refusal = unavailable{refusal}
			}
			continue
		}
		if err = v.work(ctx, func() error { return e.VerifySignature(server, keyID, key) }); err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		refusal = mxerr.Forbidden("the signature of the event %s by %s is wrong", e.ID(), server)
	}
	return refusal
}

// unavailable marks the error of an event whose signatures cannot be checked for now.
type unavailable struct{ error }

func (u unavailable) Unwrap() error { return u.error }

// Later reports whether an event was refused because a server whose key it needs does not answer: the same check may succeed later.
func Later(err error) bool {
	var u unavailable
	return errors.As(err, &u)
}

// reason is what may be told of a key that is not there: not what the network said.
func reason(err error) string {
	if errors.Is(err, federation.ErrNoKey) {
		return "it is not known, or was not valid then"
	}
	return "the servers that know it do not answer"
}

// validAt is when the event's keys must have been valid (rooms/v5, "Signing key validity period"), 0 for whenever. A time before
// 1970 is one at which no key was valid, rather than one that does not matter.
func validAt(e *event.Event) int64 {
	if !e.Version().KeyValidity {
		return 0
	}
	return max(e.OriginServerTS(), 1)
}

// work runs f among the bounded goroutines.
func (v *Verifier) work(ctx context.Context, f func() error) (err error) {
	select {
	case v.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-v.slots }()
	defer func() {
		if p := recover(); p != nil { // one bad event must not take the node down
			err = fmt.Errorf("verify: panic: %v", p)
		}
	}()
	return f()
}
