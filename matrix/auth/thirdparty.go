package auth

import (
	"crypto/ed25519"

	"github.com/tidwall/gjson"

	"github.com/matrixon/matrixon/matrix/signing"
)

// maxVerifications bounds the signature checks of one third-party invite: an event has room for several hundred signatures and
// a thousand keys, each pair of which would cost a check. Real invites carry one signature, or a few.
const maxVerifications = 1000

// thirdPartyKeys are the public keys that a third-party invite may be signed with: public_key, and those of public_keys.
func thirdPartyKeys(content []byte) []ed25519.PublicKey {
	var keys []ed25519.PublicKey
	add := func(text gjson.Result) {
		key, err := signing.DecodeBase64(text.Str)
		if text.Type == gjson.String && err == nil && len(key) == ed25519.PublicKeySize {
			keys = append(keys, key)
		}
	}
	add(gjson.GetBytes(content, "public_key"))
	for _, entry := range elements(gjson.GetBytes(content, "public_keys")) {
		add(entry.Get("public_key"))
	}
	return keys
}

// signedByAny reports whether any signature of the object, whoever made it, is by one of the keys.
func signedByAny(object gjson.Result, keys []ed25519.PublicKey) bool {
	canonical := unsignedPart(object)
	found, checks := false, 0
	members(object.Get("signatures"), func(_ string, byKey gjson.Result) {
		members(byKey, func(_ string, signature gjson.Result) {
			for i := 0; i < len(keys) && !found && checks < maxVerifications; i++ {
				checks++
				found = signature.Type == gjson.String && signing.Verify(canonical, signature.Str, keys[i]) == nil
			}
		})
	})
	return found
}

// unsignedPart is the canonical object without what signatures do not cover.
func unsignedPart(object gjson.Result) []byte {
	b := append(make([]byte, 0, len(object.Raw)), '{')
	object.ForEach(func(name, value gjson.Result) bool {
		if name.Str != "signatures" && name.Str != "unsigned" {
			if len(b) > 1 {
				b = append(b, ',')
			}
			b = append(append(append(b, name.Raw...), ':'), value.Raw...)
		}
		return true
	})
	return append(b, '}')
}
