package admin

import (
	"context"
	"log/slog"
	"time"

	"github.com/matrixon/matrixon/http/api"
	"github.com/matrixon/matrixon/matrix/mxerr"
)

// SigningKeys are the keys with which the server signs events and requests (server-server API, "Publishing Keys").
type SigningKeys interface {
	// List gives the newest key, and then those that it replaced.
	List(ctx context.Context) ([]SigningKey, error)
	// Rotate makes a new key, and lists all. Nodes sign with it from their next start; what the old one signs counts for as long as grace.
	Rotate(ctx context.Context, grace time.Duration) ([]SigningKey, error)
}

// SigningKey is one of them.
type SigningKey struct {
	KeyID     string `json:"key_id"`
	PublicKey string `json:"public_key"`          // unpadded base64
	ExpiredTS int64  `json:"expired_ts,omitzero"` // ms; absent: it is the newest
	Signing   bool   `json:"signing"`             // whether the node that answers signs with it now
}

// Keys are all keys of the server.
type Keys struct {
	Keys []SigningKey `json:"keys"`
}

// The bounds of the time in which nodes must be started anew after a rotation.
const (
	graceDefault = 7 * 24 * time.Hour
	graceLongest = 90 * 24 * time.Hour
)

// SigningKeys lists the keys.
func (o Operator) SigningKeys(ctx context.Context) (Keys, error) {
	keys, err := o.Deps.Keys.List(ctx)
	return Keys{keys}, err
}

// RotateKey makes a new key.
func (o Operator) RotateKey(ctx context.Context, by By, grace time.Duration) (Keys, error) {
	keys, err := o.Deps.Keys.Rotate(ctx, grace)
	o.note(ctx, by, "the signing key is replaced", err, slog.Duration("grace", grace))
	return Keys{keys}, err
}

func (h handler) listKeys(r *api.Request) (any, error) { return h.SigningKeys(r.Ctx) }

func (h handler) rotateKey(r *api.Request) (any, error) {
	var body struct {
		GraceMS *int64 `json:"grace_ms"`
	}
	if err := r.DecodeOptional(&body); err != nil {
		return nil, err
	}
	grace := graceDefault
	if ms := body.GraceMS; ms != nil {
		if *ms < 0 || *ms > graceLongest.Milliseconds() {
			return nil, mxerr.InvalidParam("grace_ms must be from 0 to %d", graceLongest.Milliseconds())
		}
		grace = time.Duration(*ms) * time.Millisecond
	}
	return h.RotateKey(r.Ctx, By(r.User()), grace)
}
