package keyring

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/actors/federation"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Own are the keys of this server: the one with which the node signs, the one with which nodes sign that start now, and those that were
// used before. It is safe for concurrent use.
type Own struct {
	ServerName string
	Current    signing.Key // with which this node signs
	// Newest reads the key with which nodes sign that start now. It is another one between a rotation and the node's next start.
	Newest func(ctx context.Context) (signing.Key, error)
	Store  persistence.Reader
	Now    func() time.Time

	mu    sync.Mutex
	made  time.Time
	known ownKeys
}

type ownKeys struct {
	document jsontext.Value
	keys     map[string]schema.ServerKey
}

// remember is how long a document is given out before it is made anew.
const remember = time.Minute

// Document is what the server publishes about its keys, signed (GET /_matrix/key/v2/server).
func (o *Own) Document(ctx context.Context) (jsontext.Value, error) {
	k, err := o.load(ctx)
	return k.document, err
}

// key is federation.Keys for this server.
func (o *Own) key(ctx context.Context, keyID string, at int64) (ed25519.PublicKey, error) {
	k, err := o.load(ctx)
	if err != nil {
		return nil, err
	}
	if row := k.keys[keyID]; good(row, at) {
		return row.Public, nil
	}
	return nil, fmt.Errorf("%w: %.255s of this server", federation.ErrNoKey, keyID)
}

func (o *Own) load(ctx context.Context) (ownKeys, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.Now()
	if o.known.keys != nil && now.Sub(o.made) < remember {
		return o.known, nil
	}
	newest, err := o.Newest(ctx)
	if err != nil {
		return ownKeys{}, err
	}
	old, err := schema.OldSigningKeys.All(ctx, o.Store, persistence.Range[schema.OldSigningKey]{})
	if err != nil {
		return ownKeys{}, err
	}
	d := document{ServerName: o.ServerName, VerifyKeys: map[string]verifyKey{}, OldVerifyKeys: map[string]verifyKey{}, ValidUntilTS: now.Add(lifetime).UnixMilli()}
	keys := map[string]schema.ServerKey{}
	for _, row := range old {
		if row.KeyID == newest.ID {
			continue // a rotation that broke off
		}
		keys[row.KeyID] = schema.ServerKey{KeyID: row.KeyID, Public: row.Public, ExpiredTS: row.ExpiredTS}
		if key := (verifyKey{Key: signing.EncodeBase64(row.Public)}); row.ExpiredTS > now.UnixMilli() {
			d.VerifyKeys[row.KeyID] = key
			d.ValidUntilTS = min(d.ValidUntilTS, max(row.ExpiredTS, now.Add(shortestLife).UnixMilli()))
		} else {
			key.ExpiredTS = row.ExpiredTS
			d.OldVerifyKeys[row.KeyID] = key
		}
	}
	for _, key := range []signing.Key{o.Current, newest} {
		if _, expires := keys[key.ID]; !expires {
			keys[key.ID] = schema.ServerKey{KeyID: key.ID, Public: key.Public(), ValidUntilTS: now.Add(longestValidity).UnixMilli()}
			d.VerifyKeys[key.ID] = verifyKey{Key: signing.EncodeBase64(key.Public())}
		}
	}
	raw, err := json.Marshal(&d, json.Deterministic(true))
	if err != nil {
		return ownKeys{}, err
	}
	if raw, err = signing.SignJSON(raw, o.ServerName, newest); err != nil {
		return ownKeys{}, err
	}
	o.known, o.made = ownKeys{raw, keys}, now
	return o.known, nil
}

// lifetime is how long other servers may believe what this one publishes before they ask again.
const lifetime = 24 * time.Hour

// shortestLife is the least that a published document is good for (GET /_matrix/key/v2/server).
const shortestLife = time.Hour
