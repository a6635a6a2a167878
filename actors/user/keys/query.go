package keys

import (
	"context"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// Answer is what POST /keys/query tells. Everybody who was asked for and whose server answered is among the device keys, also without any
// device: clients (matrix-rust-sdk) take those who are missing for not answered, and ask again and again.
type Answer struct {
	DeviceKeys      map[string]map[string]jsontext.Value `json:"device_keys"`
	MasterKeys      map[string]jsontext.Value            `json:"master_keys"`
	SelfSigningKeys map[string]jsontext.Value            `json:"self_signing_keys"`
	UserSigningKeys map[string]jsontext.Value            `json:"user_signing_keys"`
	Failures        map[string]jsontext.Value            `json:"failures"`
}

// NewAnswer is an answer without anything in it.
func NewAnswer() *Answer {
	return &Answer{
		DeviceKeys: map[string]map[string]jsontext.Value{}, MasterKeys: map[string]jsontext.Value{},
		SelfSigningKeys: map[string]jsontext.Value{}, UserSigningKeys: map[string]jsontext.Value{},
		Failures: map[string]jsontext.Value{},
	}
}

// Query adds a local user's keys to the answer: of the devices listed, or of all when none is. The asker sees, besides the
// owner's signatures, only their own.
func (a *Answer) Query(ctx context.Context, r persistence.Reader, asker, userID string, devices []string) error {
	wanted := make(map[string]bool, len(devices))
	for _, d := range devices {
		wanted[d] = true
	}
	signatures, err := signaturesOf(ctx, r, asker, userID)
	if err != nil {
		return err
	}
	found := map[string]jsontext.Value{}
	for d, err := range schema.Devices.Scan(ctx, r, persistence.Range[schema.Device]{Prefix: schema.Device{UserID: userID}, Keys: 1}) {
		if err != nil {
			return err
		}
		if d.Keys == nil || len(wanted) > 0 && !wanted[d.DeviceID] {
			continue
		}
		var unsigned map[string]string
		if d.DisplayName != "" {
			unsigned = map[string]string{"device_display_name": d.DisplayName}
		}
		if found[d.DeviceID], err = withSignatures(d.Keys, signatures[d.DeviceID], unsigned); err != nil {
			return err
		}
	}
	a.DeviceKeys[userID] = found
	return a.crossSigning(ctx, r, asker, userID, signatures)
}

// Add adds what is known of a user of another server: devices, and the cross-signing keys, nil when there are none. The asker sees, besides
// what came with the keys, their own signature of the master key.
func (a *Answer) Add(ctx context.Context, r persistence.Reader, asker, userID string, devices map[string]jsontext.Value, masterKey, selfSigningKey jsontext.Value) error {
	if devices == nil {
		devices = map[string]jsontext.Value{}
	}
	a.DeviceKeys[userID] = devices
	if selfSigningKey != nil {
		a.SelfSigningKeys[userID] = selfSigningKey
	}
	if _, err := parseCrossSigningKey(userID, master, masterKey); err != nil {
		return nil // there is none, or the other server takes something else for one
	}
	signatures, err := signaturesOf(ctx, r, asker, userID)
	if err != nil {
		return err
	}
	return a.signedMaster(userID, masterKey, signatures)
}

// signedMaster adds a master key with the signatures that were made of it.
func (a *Answer) signedMaster(userID string, raw jsontext.Value, signatures map[string]signerMap) error {
	k, err := parseCrossSigningKey(userID, master, raw)
	if err != nil {
		return err
	}
	id, public := k.public()
	added := signatures[public]
	if added == nil {
		added = signatures[id]
	}
	a.MasterKeys[userID], err = withSignatures(raw, added, nil)
	return err
}

func (a *Answer) crossSigning(ctx context.Context, r persistence.Reader, asker, userID string, signatures map[string]signerMap) error {
	stored, err := storedKeys(ctx, r, userID)
	if err != nil {
		return err
	}
	if raw := stored[master]; raw != nil {
		if err := a.signedMaster(userID, raw, signatures); err != nil {
			return err
		}
	}
	if raw := stored[selfSigning]; raw != nil {
		a.SelfSigningKeys[userID] = raw
	}
	if raw := stored[userSigning]; raw != nil && asker == userID {
		a.UserSigningKeys[userID] = raw
	}
	return nil
}

// signerMap is signer → key id → signature.
type signerMap map[string]map[string]string

// signaturesOf collects the uploaded signatures of a user's keys that the asker may see, by key.
func signaturesOf(ctx context.Context, r persistence.Reader, asker, userID string) (map[string]signerMap, error) {
	all := map[string]signerMap{}
	for row, err := range schema.KeySignatures.Scan(ctx, r, persistence.Range[schema.KeySignature]{
		Prefix: schema.KeySignature{UserID: userID}, Keys: 1}) {
		if err != nil {
			return nil, err
		}
		if row.SignerID != userID && row.SignerID != asker {
			continue
		}
		if all[row.KeyID] == nil {
			all[row.KeyID] = signerMap{}
		}
		if all[row.KeyID][row.SignerID] == nil {
			all[row.KeyID][row.SignerID] = map[string]string{}
		}
		all[row.KeyID][row.SignerID][row.SignerKeyID] = row.Signature
	}
	return all, nil
}

// withSignatures gives the key object with further signatures and an unsigned part.
func withSignatures(raw []byte, added signerMap, unsigned map[string]string) (jsontext.Value, error) {
	if len(added) == 0 && unsigned == nil {
		return raw, nil
	}
	var object map[string]jsontext.Value
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, err
	}
	signatures := signerMap{}
	if s, ok := object["signatures"]; ok {
		if err := json.Unmarshal(s, &signatures); err != nil {
			return nil, err
		}
	}
	for signer, byKey := range added {
		if signatures[signer] == nil {
			signatures[signer] = map[string]string{}
		}
		for id, signature := range byKey {
			signatures[signer][id] = signature
		}
	}
	var err error
	if object["signatures"], err = json.Marshal(signatures); err != nil {
		return nil, err
	}
	if unsigned != nil {
		if object["unsigned"], err = json.Marshal(unsigned); err != nil {
			return nil, err
		}
	}
	return json.Marshal(object)
}
