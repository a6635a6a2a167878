package keyring

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/matrix/id"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// document is what a server publishes about its keys (GET /_matrix/key/v2/server).
type document struct {
	ServerName    string               `json:"server_name"`
	VerifyKeys    map[string]verifyKey `json:"verify_keys"`
	OldVerifyKeys map[string]verifyKey `json:"old_verify_keys,omitzero"`
	ValidUntilTS  int64                `json:"valid_until_ts"`

	raw jsontext.Value
}

type verifyKey struct {
	Key       string `json:"key"`
	ExpiredTS int64  `json:"expired_ts,omitzero"`
}

// maxKeys bounds the keys of one document.
const maxKeys = 500

func (k verifyKey) public() (ed25519.PublicKey, bool) {
	raw, err := signing.DecodeBase64(k.Key)
	return raw, err == nil && len(raw) == ed25519.PublicKeySize
}

// parse reads a document and checks that it is the server's and signed by it: by one at least of the keys that are in use, and by none
// of them wrongly.
func parse(raw jsontext.Value, server string) (document, error) {
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		return d, err
	}
	d.raw = raw
	switch {
	case d.ServerName != server:
		return d, fmt.Errorf("the keys are those of %.255q", d.ServerName)
	case len(d.VerifyKeys)+len(d.OldVerifyKeys) > maxKeys:
		return d, fmt.Errorf("there are more than %d keys", maxKeys)
	}
	signed := false
	for keyID, key := range d.VerifyKeys {
		public, ok := key.public()
		if !ok {
			continue // of an algorithm that is not known
		}
		switch err := signing.VerifyJSON(raw, server, keyID, public); {
		case err == nil:
			signed = true
		case !errors.Is(err, signing.ErrNotSigned):
			return d, fmt.Errorf("%s: %w", keyID, err)
		}
	}
	if !signed {
		return d, errors.New("it is signed by none of its keys")
	}
	return d, nil
}

// keep stores the document and its keys. One that the server itself gave replaces what was known of their validity; that of a notary may be
// old, and only adds to it.
func (r *Ring) keep(ctx context.Context, d document, direct bool) error {
	now := r.o.Now()
	validUntil := min(d.ValidUntilTS, now.Add(longestValidity).UnixMilli())
	var writes, fresh []persistence.Mutation
	var rows []schema.ServerKey
	for _, set := range []map[string]verifyKey{d.VerifyKeys, d.OldVerifyKeys} {
		for keyID, key := range set {
			public, ok := key.public()
			if _, _, valid := id.ParseKeyID(keyID); !ok || !valid {
				continue
			}
			row := schema.ServerKey{Server: d.ServerName, KeyID: keyID, Public: public, ValidUntilTS: validUntil, FetchedTS: now.UnixMilli()}
			if _, current := d.VerifyKeys[keyID]; !current {
				row.ExpiredTS = max(key.ExpiredTS, 1) // without a time it was never good
			}
			was, known, err := schema.ServerKeys.Get(ctx, r.o.Store, row)
			switch {
			case err != nil:
				return err
			case !known:
				fresh = append(fresh, schema.ServerKeys.Put(row))
			case !slices.Equal(was.Public, row.Public):
				r.o.Log.Warn("a server publishes another key under an id that it used before; it is refused", "server", d.ServerName, "key", keyID)
				continue
			case !direct:
				row.ValidUntilTS = max(was.ValidUntilTS, row.ValidUntilTS)
				if was.ExpiredTS != 0 {
					row.ExpiredTS = was.ExpiredTS
				}
			}
			rows = append(rows, row)
			writes = append(writes, schema.ServerKeys.Put(row))
		}
	}
	old, has, err := schema.ServerKeyDocuments.Get(ctx, r.o.Store, schema.ServerKeyDocument{Server: d.ServerName})
	if err != nil {
		return err
	}
	if direct || !has || old.ValidUntilTS < d.ValidUntilTS {
		writes = append(writes, schema.ServerKeyDocuments.Put(schema.ServerKeyDocument{Server: d.ServerName, JSON: d.raw, ValidUntilTS: d.ValidUntilTS, FetchedTS: now.UnixMilli()}))
	}
	// A key that another node has stored meanwhile is looked at again: its public key may be another one.
	_, err = persistence.Await(ctx, r.o.Store, &persistence.Commit{Write: writes, Absent: fresh})
	if errors.Is(err, persistence.ErrExists) {
		return r.keep(ctx, d, direct)
	}
	if err != nil {
		return err
	}
	for _, row := range rows {
		r.known.Set(name{row.Server, row.KeyID}, row)
	}
	return nil
}
