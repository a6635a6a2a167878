package keys

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/actors/user"
	"github.com/matrixon/matrixon/matrix/canonicaljson"
	"github.com/matrixon/matrixon/matrix/mxerr"
	"github.com/matrixon/matrixon/matrix/signing"
	"github.com/matrixon/matrixon/messages"
	"github.com/matrixon/matrixon/persistence"
	"github.com/matrixon/matrixon/persistence/schema"
)

// The usages of cross-signing keys.
const (
	master      = "master"
	selfSigning = "self_signing"
	userSigning = "user_signing"
)

// crossSigningKey is a cross-signing key as clients write it.
type crossSigningKey struct {
	UserID     string                       `json:"user_id"`
	Usage      []string                     `json:"usage"`
	Keys       map[string]string            `json:"keys"`
	Signatures map[string]map[string]string `json:"signatures"`

	raw []byte // canonical
}

// public gives the key's id and the key itself; a cross-signing key object has exactly one.
func (k *crossSigningKey) public() (keyID, public string) {
	for id, key := range k.Keys {
		return id, key
	}
	return "", ""
}

func parseCrossSigningKey(userID, usage string, raw []byte) (*crossSigningKey, error) {
	field := usage + "_key"
	var k crossSigningKey
	if err := json.Unmarshal(raw, &k); err != nil {
		return nil, mxerr.BadJSON("%s: %v", field, err)
	}
	if k.UserID != userID {
		return nil, mxerr.InvalidParam("%s: it is of %q, but you are %s", field, k.UserID, userID)
	}
	if !slices.Contains(k.Usage, usage) {
		return nil, mxerr.InvalidParam("%s: its usage does not contain %s", field, usage)
	}
	if len(k.Keys) != 1 {
		return nil, mxerr.InvalidParam("%s: it must hold exactly one key", field)
	}
	id, public := k.public()
	if algorithm, name, _ := strings.Cut(id, ":"); algorithm != "ed25519" || name != public {
		return nil, mxerr.InvalidParam("%s: %q must be ed25519: followed by the public key", field, id)
	}
	if _, err := decodePublic(public); err != nil {
		return nil, mxerr.InvalidParam("%s: the public key is not 32 bytes of base64", field)
	}
	canonical, err := canonicaljson.Canonicalize(nil, raw, canonicaljson.Options{})
	if err != nil {
		return nil, mxerr.BadJSON("%s: %v", field, err)
	}
	k.raw = canonical
	return &k, nil
}

func decodePublic(s string) (ed25519.PublicKey, error) {
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil || len(b) != ed25519.PublicKeySize {
		return nil, mxerr.InvalidParam("%q is not an ed25519 public key", s)
	}
	return b, nil
}

// CrossSigningChange says what an upload would do, which decides whether the user must authenticate again.
type CrossSigningChange int

// The kinds of an upload.
const (
	CrossSigningFirst CrossSigningChange = iota // the user has no master key yet
	CrossSigningSame                            // nothing new
	CrossSigningReplaces
)

// CompareCrossSigning compares an upload with what the user has (client-server API, POST /keys/device_signing/upload).
func CompareCrossSigning(ctx context.Context, r persistence.Reader, req *messages.UploadCrossSigning) (CrossSigningChange, error) {
	old, err := storedKeys(ctx, r, req.By.UserId)
	if err != nil {
		return 0, err
	}
	if old[master] == nil {
		return CrossSigningFirst, nil
	}
	for usage, raw := range uploads(req) {
		if len(raw) == 0 {
			continue
		}
		k, err := parseCrossSigningKey(req.By.UserId, usage, raw)
		if err != nil {
			return 0, err
		}
		if !samePublic(old[usage], k) {
			return CrossSigningReplaces, nil
		}
	}
	return CrossSigningSame, nil
}

func uploads(req *messages.UploadCrossSigning) map[string][]byte {
	return map[string][]byte{master: req.Master, selfSigning: req.SelfSigning, userSigning: req.UserSigning}
}

func samePublic(stored []byte, k *crossSigningKey) bool {
	if stored == nil {
		return false
	}
	var old crossSigningKey
	if json.Unmarshal(stored, &old) != nil {
		return false
	}
	_, a := old.public()
	_, b := k.public()
	return a == b
}

// storedKeys are the user's cross-signing keys by usage.
func storedKeys(ctx context.Context, r persistence.Reader, userID string) (map[string][]byte, error) {
	keys := map[string][]byte{}
	for row, err := range schema.CrossSigningKeys.Scan(ctx, r, persistence.Range[schema.CrossSigningKey]{
		Prefix: schema.CrossSigningKey{UserID: userID}, Keys: 1}) {
		if err != nil {
			return nil, err
		}
		keys[row.Usage] = row.JSON
	}
	return keys, nil
}

// uploadCrossSigning is POST /keys/device_signing/upload, once the user has proved to be allowed.
func uploadCrossSigning(ctx context.Context, o *user.Op, req *messages.UploadCrossSigning) (*messages.Done, error) {
	old, err := storedKeys(ctx, o.Store, o.UserID)
	if err != nil {
		return nil, err
	}
	uploaded := map[string]*crossSigningKey{}
	for usage, raw := range uploads(req) {
		if len(raw) == 0 {
			continue
		}
		if uploaded[usage], err = parseCrossSigningKey(o.UserID, usage, raw); err != nil {
			return nil, err
		}
	}
	masterKey := uploaded[master]
	if masterKey == nil {
		if old[master] == nil {
			return nil, mxerr.MissingParam("no master signing key is available: upload master_key first")
		}
		if masterKey, err = parseCrossSigningKey(o.UserID, master, old[master]); err != nil {
			return nil, err
		}
	}
	var writes []persistence.Mutation
	for usage, k := range uploaded {
		if err := checkUpload(ctx, o, usage, k, masterKey); err != nil {
			return nil, err
		}
		if bytes.Equal(old[usage], k.raw) {
			continue
		}
		writes = append(writes, schema.CrossSigningKeys.Put(schema.CrossSigningKey{UserID: o.UserID, Usage: usage, JSON: k.raw}))
	}
	if len(writes) == 0 {
		return &messages.Done{}, nil
	}
	// A new master key invalidates what the old one had signed.
	if k := uploaded[master]; k != nil && old[master] != nil && !samePublic(old[master], k) {
		writes = append(writes, schema.CrossSigningResets.Delete(schema.CrossSigningReset{UserID: o.UserID})) // it was for this once
		for _, usage := range []string{selfSigning, userSigning} {
			if uploaded[usage] == nil && old[usage] != nil {
				writes = append(writes, schema.CrossSigningKeys.Delete(schema.CrossSigningKey{UserID: o.UserID, Usage: usage}))
			}
		}
	}
	more, notice, err := o.DeviceListChange(ctx)
	if err != nil {
		return nil, err
	}
	_, err = o.Commit(ctx, append(writes, more...), nil, user.Notices{DeviceList: notice})
	return &messages.Done{}, err
}

// checkUpload refuses a key that a device is named after and one that the master key has not signed.
func checkUpload(ctx context.Context, o *user.Op, usage string, k, masterKey *crossSigningKey) error {
	_, public := k.public()
	if _, ok, err := schema.Devices.Get(ctx, o.Store, schema.Device{UserID: o.UserID, DeviceID: public}); err != nil {
		return err
	} else if ok {
		return mxerr.Forbidden("%s_key: the public key is the id of one of your devices", usage)
	}
	if usage == master {
		return nil
	}
	masterID, masterPublic := masterKey.public()
	if !signedBy(k.raw, o.UserID, masterID, masterPublic) {
		return invalidSignature("%s_key: it is not signed by the master key", usage)
	}
	return nil
}

func invalidSignature(format string, args ...any) *mxerr.Error {
	return mxerr.New(http.StatusBadRequest, "M_INVALID_SIGNATURE", format, args...)
}

func signedBy(object []byte, entity, keyID, public string) bool {
	key, err := decodePublic(public)
	return err == nil && signing.VerifyJSON(object, entity, keyID, key) == nil
}

// signedObject is a device key or a cross-signing key in POST /keys/signatures/upload.
type signedObject struct {
	Signatures map[string]map[string]string `json:"signatures"`
}

// uploadSignatures is POST /keys/signatures/upload: what is right is stored, what is wrong is reported key by key.
func uploadSignatures(ctx context.Context, o *user.Op, req *messages.UploadSignatures) (*messages.SignatureFailures, error) {
	var signed map[string]map[string]jsontext.Value
	if err := json.Unmarshal(req.Signed, &signed); err != nil {
		return nil, mxerr.BadJSON("the body must map user ids to key ids to signed objects: %v", err)
	}
	failures := map[string]map[string]any{}
	var writes []persistence.Mutation
	ownChanged, othersChanged := false, false
	var devices []string // of the user, that were signed
	for target, objects := range signed {
		for keyID, object := range objects {
			rows, err := acceptSignatures(ctx, o, target, keyID, object)
			if err != nil {
				refused := mxerr.From(err)
				if refused.Status >= http.StatusInternalServerError {
					return nil, err
				}
				if failures[target] == nil {
					failures[target] = map[string]any{}
				}
				failures[target][keyID] = map[string]string{"errcode": refused.Code, "error": refused.Message}
				continue
			}
			writes = append(writes, rows...)
			if target != o.UserID {
				othersChanged = othersChanged || len(rows) > 0
				continue
			}
			ownChanged = ownChanged || len(rows) > 0
			if _, ok, err := schema.Devices.Get(ctx, o.Store, schema.Device{UserID: target, DeviceID: keyID}); err != nil {
				return nil, err
			} else if ok && len(rows) > 0 {
				devices = append(devices, keyID)
			}
		}
	}
	if len(writes) > 0 {
		notices := user.Notices{}
		switch {
		case ownChanged:
			more, notice, err := o.DeviceListChange(ctx, devices...)
			if err != nil {
				return nil, err
			}
			writes, notices.DeviceList = append(writes, more...), notice
		case othersChanged:
			more, notice := o.SignatureChange()
			writes, notices.DeviceList = append(writes, more...), notice
		}
		if _, err := o.Commit(ctx, writes, nil, notices); err != nil {
			return nil, err
		}
	}
	raw, err := json.Marshal(failures)
	return &messages.SignatureFailures{Failures: raw}, err
}

// acceptSignatures gives the rows for the user's new signatures of one key of the target.
func acceptSignatures(ctx context.Context, o *user.Op, target, keyID string, object []byte) ([]persistence.Mutation, error) {
	stored, isMaster, err := signedKey(ctx, o.Store, target, keyID)
	if err != nil {
		return nil, err
	}
	if stored == nil {
		return nil, mxerr.NotFound("%s has no key %s", target, keyID)
	}
	if !sameButSignatures(stored, object) {
		return nil, mxerr.InvalidParam("the object differs from the key that %s uploaded", target)
	}
	var so signedObject
	if err := json.Unmarshal(object, &so); err != nil {
		return nil, mxerr.BadJSON("signatures: %v", err)
	}
	own, err := storedKeys(ctx, o.Store, o.UserID)
	if err != nil {
		return nil, err
	}
	var rows []persistence.Mutation
	for signerKeyID, signature := range so.Signatures[o.UserID] {
		public, err := allowedSigner(ctx, o, own, target, isMaster, signerKeyID)
		if err != nil {
			return nil, err
		}
		if public == "" {
			continue // a signature that came with the key, by a key that has no business here
		}
		if !signedBy(object, o.UserID, signerKeyID, public) {
			return nil, invalidSignature("the signature by %s is not valid", signerKeyID)
		}
		row := schema.KeySignature{UserID: target, KeyID: keyID, SignerID: o.UserID, SignerKeyID: signerKeyID, Signature: signature}
		if old, ok, err := schema.KeySignatures.Get(ctx, o.Store, row); err != nil {
			return nil, err
		} else if !ok || old.Signature != signature {
			rows = append(rows, schema.KeySignatures.Put(row))
		}
	}
	if len(rows) == 0 && len(so.Signatures[o.UserID]) == 0 {
		return nil, invalidSignature("the object has no signature by %s", o.UserID)
	}
	return rows, nil
}

// allowedSigner gives the public key behind the user's signerKeyID if it may sign such a key: devices are signed by the
// self-signing key, the own master key by own devices, other people's master keys by the user-signing key.
func allowedSigner(ctx context.Context, o *user.Op, own map[string][]byte, target string, isMaster bool, signerKeyID string) (string, error) {
	usage := selfSigning
	if target != o.UserID {
		usage = userSigning
	}
	if target != o.UserID || !isMaster {
		if own[usage] == nil {
			return "", nil
		}
		k, err := parseCrossSigningKey(o.UserID, usage, own[usage])
		if err != nil {
			return "", err
		}
		if id, public := k.public(); id == signerKeyID {
			return public, nil
		}
		return "", nil
	}
	device, ok, err := schema.Devices.Get(ctx, o.Store, schema.Device{UserID: o.UserID, DeviceID: strings.TrimPrefix(signerKeyID, "ed25519:")})
	if err != nil || !ok || device.Keys == nil {
		return "", err
	}
	var k deviceKeys
	if err := json.Unmarshal(device.Keys, &k); err != nil {
		return "", err
	}
	return k.Keys[signerKeyID], nil
}

// signedKey finds the key that is signed: a device, by its id, or the master key, by its public key. Other people's
// devices cannot be signed.
func signedKey(ctx context.Context, r persistence.Reader, userID, keyID string) (raw []byte, isMaster bool, err error) {
	device, ok, err := schema.Devices.Get(ctx, r, schema.Device{UserID: userID, DeviceID: keyID})
	if err != nil {
		return nil, false, err
	}
	if ok && device.Keys != nil {
		return device.Keys, false, nil
	}
	masterKey, err := masterKeyOf(ctx, r, userID)
	if err != nil || masterKey == nil {
		return nil, false, err
	}
	k, err := parseCrossSigningKey(userID, master, masterKey)
	if err != nil {
		return nil, false, err
	}
	if id, public := k.public(); public == keyID || id == keyID {
		return masterKey, true, nil
	}
	return nil, false, nil
}

// masterKeyOf gives the master key of a user of this server, or of one of another whose devices are kept here; nil when there is none.
func masterKeyOf(ctx context.Context, r persistence.Reader, userID string) ([]byte, error) {
	stored, err := storedKeys(ctx, r, userID)
	if err != nil || stored[master] != nil {
		return stored[master], err
	}
	remote, _, err := schema.RemoteDeviceLists.Get(ctx, r, schema.RemoteDeviceList{UserID: userID})
	if key := gjson.GetBytes(remote.JSON, master+"_key"); key.IsObject() {
		return []byte(key.Raw), err
	}
	return nil, err
}

// sameButSignatures compares two keys without what may be added to them.
func sameButSignatures(a, b []byte) bool {
	ca, errA := withoutSignatures(a)
	cb, errB := withoutSignatures(b)
	return errA == nil && errB == nil && bytes.Equal(ca, cb)
}

func withoutSignatures(raw []byte) ([]byte, error) {
	var m map[string]jsontext.Value
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, err
	}
	delete(m, "signatures")
	delete(m, "unsigned")
	return canonicaljson.Marshal(m)
}
