// Package signing signs and verifies JSON objects with ed25519 (appendices, "Signing JSON").
package signing

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/matrixon/matrixon/matrix/canonicaljson"
)

// algorithm is the one signing algorithm there is, as key ids begin.
const algorithm = "ed25519:"

// Key is a signing key with its id, for example ed25519:a_b12.
type Key struct {
	ID      string
	Private ed25519.PrivateKey
}

// Public is the public half.
func (k Key) Public() ed25519.PublicKey {
	public, _ := k.Private.Public().(ed25519.PublicKey)
	return public
}

// ErrNotSigned says that the object carries no signature by that entity and key.
var ErrNotSigned = errors.New("signing: the object is not signed by that key")

// ErrBadSignature says that the signature is not one of the object by that key.
var ErrBadSignature = errors.New("signing: the signature does not match")

// Sign gives the signature of canonical bytes, in unpadded base64.
func Sign(canonical []byte, key Key) string {
	return EncodeBase64(ed25519.Sign(key.Private, canonical))
}

// Verify checks a signature of canonical bytes, padded base64 or not.
func Verify(canonical []byte, signature string, public ed25519.PublicKey) error {
	sig, err := DecodeBase64(signature)
	if err != nil || len(sig) != ed25519.SignatureSize || len(public) != ed25519.PublicKeySize || !ed25519.Verify(public, canonical, sig) {
		return ErrBadSignature
	}
	return nil
}

// SignJSON adds the entity's signature to a JSON object, and gives it in canonical form. Other signatures and unsigned stay.
func SignJSON(object []byte, entity string, key Key) ([]byte, error) {
	o, signed, err := split(object)
	if err != nil {
		return nil, err
	}
	signatures := map[string]map[string]string{}
	if raw, ok := o["signatures"]; ok {
		if err := json.Unmarshal(raw, &signatures); err != nil {
			return nil, fmt.Errorf("signatures: %w", err)
		}
		if signatures == nil {
			return nil, errors.New("signatures: null is not an object")
		}
	}
	if signatures[entity] == nil {
		signatures[entity] = map[string]string{}
	}
	signatures[entity][key.ID] = Sign(signed, key)
	if o["signatures"], err = json.Marshal(signatures); err != nil {
		return nil, err
	}
	return canonicaljson.Marshal(o)
}

// VerifyJSON checks the entity's signature of a JSON object by the key: ErrNotSigned, ErrBadSignature, or an error of its JSON.
func VerifyJSON(object []byte, entity, keyID string, public ed25519.PublicKey) error {
	o, signed, err := split(object)
	if err != nil {
		return err
	}
	var signatures map[string]map[string]string
	if raw, ok := o["signatures"]; ok {
		if err := json.Unmarshal(raw, &signatures); err != nil {
			return fmt.Errorf("signatures: %w", err)
		}
	}
	signature, ok := signatures[entity][keyID]
	if !ok {
		return ErrNotSigned
	}
	return Verify(signed, signature, public)
}

// split gives the object's members, and the canonical bytes that are signed: those without signatures and unsigned.
func split(object []byte) (map[string]jsontext.Value, []byte, error) {
	var o map[string]jsontext.Value
	if err := json.Unmarshal(object, &o); err != nil {
		return nil, nil, err
	}
	if o == nil {
		return nil, nil, errors.New("signing: not a JSON object")
	}
	signatures, hasSignatures := o["signatures"]
	unsigned, hasUnsigned := o["unsigned"]
	delete(o, "signatures")
	delete(o, "unsigned")
	signed, err := canonicaljson.Marshal(o)
	if hasSignatures {
		o["signatures"] = signatures
	}
	if hasUnsigned {
		o["unsigned"] = unsigned
	}
	return o, signed, err
}

// EncodeBase64 is unpadded standard base64 (appendices, "Unpadded Base64").
func EncodeBase64(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

// DecodeBase64 reads standard or URL-safe base64, padded or not, as implementations should accept.
func DecodeBase64(s string) ([]byte, error) {
	s = strings.TrimRight(s, "=")
	if strings.ContainsAny(s, "-_") {
		return base64.RawURLEncoding.DecodeString(s)
	}
	return base64.RawStdEncoding.DecodeString(s)
}

// ParseKey reads a key as it is stored: "ed25519:id seed", the seed in base64.
func ParseKey(text []byte) (Key, error) {
	fields := bytes.Fields(text)
	if len(fields) != 2 || !validKeyID(string(fields[0])) {
		return Key{}, errors.New("signing: a stored key reads \"ed25519:id seed\", the id made of letters, digits and _")
	}
	seed, err := DecodeBase64(string(fields[1]))
	if err != nil || len(seed) != ed25519.SeedSize {
		return Key{}, errors.New("signing: the seed of a stored key is 32 bytes of base64")
	}
	return Key{ID: string(fields[0]), Private: ed25519.NewKeyFromSeed(seed)}, nil
}

// validKeyID reports whether servers may publish a key with this id (server-server API, "Publishing Keys").
func validKeyID(s string) bool {
	name, ok := strings.CutPrefix(s, algorithm)
	return ok && name != "" && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// NewKey makes a key with this name from 32 random bytes.
func NewKey(name string, seed []byte) Key {
	return Key{ID: algorithm + name, Private: ed25519.NewKeyFromSeed(seed)}
}

// Format writes a key as ParseKey reads it.
func (k Key) Format() []byte {
	return fmt.Appendf(nil, "%s %s\n", k.ID, EncodeBase64(k.Private.Seed()))
}
