package server

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/matrixon/matrixon/cmd/matrixon/config"
	"github.com/matrixon/matrixon/http/admin"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/room"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// signingKeys are the keys with which the server signs and has signed (admin.SigningKeys).
type signingKeys struct{ s *Server }

// List implements admin.SigningKeys.
func (k signingKeys) List(ctx context.Context) ([]admin.SigningKey, error) {
	newest, err := k.s.signingKey(ctx)
	if err != nil {
		return nil, err
	}
	old, err := schema.OldSigningKeys.All(ctx, k.s.store, persistence.Range[schema.OldSigningKey]{})
	if err != nil {
		return nil, err
	}
	all := []admin.SigningKey{{KeyID: newest.ID, PublicKey: signing.EncodeBase64(newest.Public()), Signing: newest.ID == k.s.key.ID}}
	for _, row := range old {
		if row.KeyID != newest.ID { // else a rotation that broke off
			all = append(all, admin.SigningKey{KeyID: row.KeyID, PublicKey: signing.EncodeBase64(row.Public), ExpiredTS: row.ExpiredTS, Signing: row.KeyID == k.s.key.ID})
		}
	}
	return all, nil
}

// Rotate implements admin.SigningKeys. The old key is kept before the new one takes its place, so that whenever the process dies
// every signature has its key.
func (k signingKeys) Rotate(ctx context.Context, grace time.Duration) ([]admin.SigningKey, error) {
	k.s.rotating.Lock()
	defer k.s.rotating.Unlock()
	newest, err := k.s.signingKey(ctx)
	if err != nil {
		return nil, err
	}
	next, err := newSigningKey()
	if err != nil {
		return nil, err
	}
	old := schema.OldSigningKeys.Put(schema.OldSigningKey{KeyID: newest.ID, Public: newest.Public(), ExpiredTS: time.Now().Add(grace).UnixMilli()})
	commit := &persistence.Commit{Write: []persistence.Mutation{old}}
	alone := k.s.config.Storage == config.Pebble
	if !alone {
		commit.Write = append(commit.Write, eventKey.row(next))
		commit.Absent = []persistence.Mutation{old}
	}
	switch _, err = persistence.Await(ctx, k.s.store, commit); {
	case errors.Is(err, persistence.ErrExists):
		return nil, mxerr.New(http.StatusConflict, "M_UNKNOWN", "the key is being replaced by somebody else")
	case err != nil:
		return nil, err
	}
	if alone {
		if err := writeDurably(filepath.Join(k.s.config.DataDir, eventKey.file), next.Format()); err != nil {
			return nil, err
		}
	}
	return k.List(ctx)
}

// newSigningKey makes a key with a name that no other has.
func newSigningKey() (signing.Key, error) { return newKey("a_" + rand.Text()[:6]) }

// newPolicyKey makes a key with the name that those of policy servers have.
func newPolicyKey() (signing.Key, error) {
	return newKey(strings.TrimPrefix(room.PolicyKeyID, "ed25519:"))
}

func newKey(name string) (signing.Key, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := rand.Read(seed); err != nil {
		return signing.Key{}, err
	}
	return signing.NewKey(name, seed), nil
}

// warnOfOldKey says when this node still signs with a key that was replaced.
func (s *Server) warnOfOldKey(ctx context.Context) error {
	row, old, err := schema.OldSigningKeys.Get(ctx, s.store, schema.OldSigningKey{KeyID: s.key.ID})
	if err != nil || !old {
		return err
	}
	if newest, err := s.signingKey(ctx); err != nil || newest.ID == s.key.ID {
		return err
	}
	s.log.Warn("this node signs with a key that was replaced: start it anew before that expires", "key", s.key.ID, "expires", time.UnixMilli(row.ExpiredTS))
	return nil
}
