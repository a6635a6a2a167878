package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/persistence/schema"
)

// viaNotaries asks the notaries for a key, one after the other until one knows it. A notary is asked itself for its own.
func (r *Ring) viaNotaries(ctx context.Context, server, keyID string, at int64) error {
	if len(r.o.Notaries) == 0 || slices.Contains(r.o.Notaries, server) {
		return nil
	}
	return r.once(ctx, server+" "+keyID, func(ctx context.Context) (bool, error) {
		for _, notary := range r.o.Notaries {
			if notary == r.o.Own.ServerName {
				continue
			}
			documents, err := r.askNotary(ctx, notary, server, keyID, at)
			if err != nil {
				r.o.Log.Warn("a notary does not give the keys of a server", "notary", notary, "server", server, "error", err)
			}
			for _, d := range documents {
				if err := r.keep(ctx, d, false); err != nil {
					return false, err
				}
			}
			if row, err := r.stored(ctx, server, keyID, at); err != nil || good(row, at) {
				return true, err
			}
		}
		return false, nil
	})
}

// askNotary gives what a notary knows of a server, if both have signed it.
func (r *Ring) askNotary(ctx context.Context, notary, server, keyID string, at int64) ([]document, error) {
	type criteria struct {
		MinimumValidUntilTS int64 `json:"minimum_valid_until_ts"`
	}
	body, err := json.Marshal(map[string]any{"server_keys": map[string]any{server: map[string]criteria{keyID: {at}}}})
	if err != nil {
		return nil, err
	}
	raw, err := r.o.Caller.Call(ctx, federation.Request{Destination: notary, Method: "POST", URI: "/_matrix/key/v2/query", Body: body,
		Limit: maxDocument, Timeout: askTimeout, Eager: true})
	if err != nil {
		return nil, err
	}
	var answer struct {
		ServerKeys []jsontext.Value `json:"server_keys"`
	}
	if err := json.Unmarshal(raw, &answer); err != nil {
		return nil, err
	}
	const most = 20 // documents of one server
	var documents []document
	for _, raw := range answer.ServerKeys[:min(len(answer.ServerKeys), most)] {
		d, err := parse(raw, server)
		if err == nil {
			err = r.signedBy(ctx, raw, notary)
		}
		if err != nil {
			return documents, err
		}
		documents = append(documents, d)
	}
	return documents, nil
}

// signedBy checks that a notary has signed.
func (r *Ring) signedBy(ctx context.Context, raw jsontext.Value, notary string) error {
	var signed struct {
		Signatures map[string]map[string]string `json:"signatures"`
	}
	if err := json.Unmarshal(raw, &signed); err != nil {
		return err
	}
	const most = 4 // signatures that are tried
	tried := 0
	for keyID := range signed.Signatures[notary] {
		if tried++; tried > most {
			break
		}
		public, err := r.Key(ctx, notary, keyID, r.o.Now().UnixMilli())
		if errors.Is(err, federation.ErrNoKey) {
			continue
		}
		if err != nil {
			return err
		}
		return signing.VerifyJSON(raw, notary, keyID, public)
	}
	return fmt.Errorf("the notary %s has not signed the answer by a key that is known", notary)
}

// Notarize gives what is known of the keys of a server, signed by this one, for a notary's answer: fetched anew if it is not valid until the
// time (ms; 0: now), or if half of its life has passed; ok is false when nothing is known.
func (r *Ring) Notarize(ctx context.Context, server string, validUntil int64) (signed jsontext.Value, ok bool, err error) {
	if server == r.o.Own.ServerName {
		signed, err = r.o.Own.Document(ctx)
		return signed, true, err
	}
	row, ok, err := schema.ServerKeyDocuments.Get(ctx, r.o.Store, schema.ServerKeyDocument{Server: server})
	if err != nil {
		return nil, false, err
	}
	now := r.o.Now().UnixMilli()
	stale := !ok || row.ValidUntilTS < max(validUntil, now) || now > row.FetchedTS+(row.ValidUntilTS-row.FetchedTS)/2
	if stale {
		if err := r.direct(ctx, server); err != nil {
			return nil, false, err
		}
		if row, ok, err = schema.ServerKeyDocuments.Get(ctx, r.o.Store, row); err != nil {
			return nil, false, err
		}
	}
	if !ok {
		return nil, false, nil
	}
	signed, err = signing.SignJSON(row.JSON, r.o.Own.ServerName, r.o.Own.Current)
	return signed, err == nil, err
}
