package oauth

import (
	"slices"
	"strings"
)

// The scope tokens (client-server API, "Allocated scope tokens"), in the spelling of the specification and that of MSC2967.
var (
	apiScopes    = []string{"urn:matrix:client:api:*", "urn:matrix:org.matrix.msc2967.client:api:*"}
	deviceScopes = []string{"urn:matrix:client:device:", "urn:matrix:org.matrix.msc2967.client:device:"}
)

// openID is the scope of clients that want an id token. The specification does without, but the apps of before it stood do not.
const openID = "openid"

// maxDeviceID is the longest id of a device, in bytes.
const maxDeviceID = 255

// parseScope gives what of a scope is granted, in the spelling of the request, and the device that it is for.
func parseScope(scope string) (granted, deviceID string, err error) {
	var tokens []string
	full := false
	for _, token := range strings.Fields(scope) {
		switch id, device := deviceOf(token); {
		case slices.Contains(apiScopes, token):
			full = true
		case token == openID:
		case device && deviceID != "" && deviceID != id:
			return "", "", fail("invalid_scope", "the scope must name one device")
		case device:
			deviceID = id
		default:
			continue // "The server MAY fully or partially ignore the scope requested" (RFC 6749, section 3.3)
		}
		if !slices.Contains(tokens, token) {
			tokens = append(tokens, token)
		}
	}
	switch {
	case !full:
		return "", "", fail("invalid_scope", "the scope must hold "+apiScopes[0])
	case deviceID == "":
		return "", "", fail("invalid_scope", "the scope must name a device: "+deviceScopes[0]+"...")
	case len(deviceID) > maxDeviceID || strings.ContainsFunc(deviceID, func(c rune) bool { return c <= 0x20 || c >= 0x7f || c == '"' || c == '\\' }):
		return "", "", fail("invalid_scope", "the id of the device is too long, or has characters that a scope must not have")
	}
	return strings.Join(tokens, " "), deviceID, nil
}

func deviceOf(token string) (string, bool) {
	for _, prefix := range deviceScopes {
		if id, ok := strings.CutPrefix(token, prefix); ok {
			return id, true
		}
	}
	return "", false
}
