package signing

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/tidwall/gjson"
	"pgregory.net/rapid"

	"github.com/matrixon/matrixon/matrix/canonicaljson"
)

// specSeed is the key of the specification's vectors (appendices, "Cryptographic Test Vectors"). The unused bits of its last
// letter are not zero, so that a strict decoder would refuse it.
const specSeed = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"

func specKey(t testing.TB) Key {
	t.Helper()
	key, err := ParseKey([]byte("ed25519:1 " + specSeed))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// The vectors of the specification (appendices, "JSON Signing").
func TestSpecificationVectors(t *testing.T) {
	t.Parallel()
	key := specKey(t)
	for raw, want := range map[string]string{
		`{}`:                    `{"signatures":{"domain":{"ed25519:1":"K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ"}}}`,
		`{"two":"Two","one":1}`: `{"one":1,"signatures":{"domain":{"ed25519:1":"KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw"}},"two":"Two"}`,
	} {
		got, err := SignJSON([]byte(raw), "domain", key)
		if err != nil || string(got) != want {
			t.Errorf("%s gives %s, %v", raw, got, err)
		}
		if err := VerifyJSON([]byte(want), "domain", "ed25519:1", key.Public()); err != nil {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// The examples of unpadded base64 (appendices, "Unpadded Base64"), and what decoders should accept besides.
func TestBase64(t *testing.T) {
	t.Parallel()
	for plain, encoded := range map[string]string{"": "", "f": "Zg", "fo": "Zm8", "foo": "Zm9v", "foob": "Zm9vYg", "fooba": "Zm9vYmE", "foobar": "Zm9vYmFy", "\xfb\xff\xbf": "+/+/"} {
		if got := EncodeBase64([]byte(plain)); got != encoded {
			t.Errorf("%q gives %s, want %s", plain, got, encoded)
		}
		padded := base64.StdEncoding.EncodeToString([]byte(plain))
		for _, form := range []string{encoded, padded, strings.NewReplacer("+", "-", "/", "_").Replace(encoded), strings.NewReplacer("+", "-", "/", "_").Replace(padded)} {
			if got, err := DecodeBase64(form); err != nil || string(got) != plain {
				t.Errorf("%s gives %q, %v", form, got, err)
			}
		}
	}
	for _, bad := range []string{"Z", "Zg=g", "Zm9vY", "=Zg", "Zm 8", "Zm8*", "+-", "/_", "é", "Zg==\x00"} {
		if got, err := DecodeBase64(bad); err == nil {
			t.Errorf("%q gives %q", bad, got)
		}
	}
}

// Signing keeps other signatures and unsigned, covers neither, and replaces its own.
func TestSignJSONKeepsTheRest(t *testing.T) {
	t.Parallel()
	key, second := specKey(t), NewKey("2", bytes.Repeat([]byte{2}, ed25519.SeedSize))
	once, err := SignJSON([]byte(`{"unsigned":{"age_ts":1},"signatures":{"other":{"ed25519:x":"abc"},"domain":{"ed25519:1":"old"}},"one":1,"two":"Two"}`), "domain", key)
	if err != nil {
		t.Fatal(err)
	}
	twice, err := SignJSON(once, "domain", second)
	if err != nil {
		t.Fatal(err)
	}
	const first = "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw" // of the specification: without unsigned
	for path, want := range map[string]string{"signatures.other.ed25519:x": "abc", "signatures.domain.ed25519:1": first, "unsigned.age_ts": "1", "one": "1"} {
		if got := gjson.GetBytes(twice, path).String(); got != want {
			t.Errorf("%s is %s in %s", path, got, twice)
		}
	}
	for _, k := range []Key{key, second} {
		if err := VerifyJSON(twice, "domain", k.ID, k.Public()); err != nil {
			t.Errorf("%s: %v", k.ID, err)
		}
	}
	changed := strings.Replace(string(twice), `"age_ts":1`, `"age_ts":2`, 1)
	if err := VerifyJSON([]byte(changed), "domain", key.ID, key.Public()); err != nil {
		t.Errorf("unsigned is covered: %v", err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	t.Parallel()
	key, other := specKey(t), NewKey("1", bytes.Repeat([]byte{7}, ed25519.SeedSize))
	signed, err := SignJSON([]byte(`{"one":1,"two":"Two"}`), "domain", key)
	if err != nil {
		t.Fatal(err)
	}
	swap := func(old, new string) string { return strings.Replace(string(signed), old, new, 1) }
	signature := gjson.GetBytes(signed, "signatures.domain.ed25519:1").Str
	for what, c := range map[string]struct {
		raw, entity, keyID string
		public             ed25519.PublicKey
		want               error
	}{
		"another entity":     {string(signed), "other", key.ID, key.Public(), ErrNotSigned},
		"another key id":     {string(signed), "domain", "ed25519:2", key.Public(), ErrNotSigned},
		"no signatures":      {`{"one":1,"two":"Two"}`, "domain", key.ID, key.Public(), ErrNotSigned},
		"null signatures":    {`{"one":1,"two":"Two","signatures":null}`, "domain", key.ID, key.Public(), ErrNotSigned},
		"another key":        {string(signed), "domain", key.ID, other.Public(), ErrBadSignature},
		"no key":             {string(signed), "domain", key.ID, nil, ErrBadSignature},
		"a short key":        {string(signed), "domain", key.ID, key.Public()[:31], ErrBadSignature},
		"another value":      {swap(`"one":1`, `"one":2`), "domain", key.ID, key.Public(), ErrBadSignature},
		"one more member":    {swap(`{"one"`, `{"a":null,"one"`), "domain", key.ID, key.Public(), ErrBadSignature},
		"one member less":    {swap(`"one":1,`, ``), "domain", key.ID, key.Public(), ErrBadSignature},
		"an empty signature": {swap(signature, ""), "domain", key.ID, key.Public(), ErrBadSignature},
		"a short signature":  {swap(signature, signature[:40]), "domain", key.ID, key.Public(), ErrBadSignature},
		"a long signature":   {swap(signature, signature+"AAAA"), "domain", key.ID, key.Public(), ErrBadSignature},
		"not base64":         {swap(signature, "*"+signature[1:]), "domain", key.ID, key.Public(), ErrBadSignature},
		"padded":             {swap(signature, signature+"=="), "domain", key.ID, key.Public(), nil},
		"another spelling":   {swap(`"one":1`, " \"o\\u006ee\" : 1 "), "domain", key.ID, key.Public(), nil},
		"in the unsigned":    {swap(`{"one"`, `{"unsigned":{},"one"`), "domain", key.ID, key.Public(), nil},
	} {
		if err := VerifyJSON([]byte(c.raw), c.entity, c.keyID, c.public); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
	}
}

// What is no object of signatures is an error of its JSON, neither a missing nor a bad signature.
func TestBadJSON(t *testing.T) {
	t.Parallel()
	key := specKey(t)
	for _, raw := range []string{``, `{`, `null`, `[]`, `1`, `"x"`, `{"a":1,"a":2}`, `{"signatures":[]}`, `{"signatures":"x"}`, `{"signatures":{"d":1}}`, `{"signatures":{"d":{"k":1}}}`,
		`{"a":"\ud800"}`, `{"a":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`} {
		if got, err := SignJSON([]byte(raw), "domain", key); err == nil {
			t.Errorf("%.40s is signed as %s", raw, got)
		}
		if err := VerifyJSON([]byte(raw), "domain", key.ID, key.Public()); err == nil || errors.Is(err, ErrNotSigned) || errors.Is(err, ErrBadSignature) {
			t.Errorf("%.40s: %v", raw, err)
		}
	}
	if got, err := SignJSON([]byte(`{"signatures":null}`), "domain", key); err == nil {
		t.Errorf("null signatures are signed as %s", got)
	}
	if got, err := SignJSON([]byte(`{"signatures":{"domain":null}}`), "domain", key); err != nil || VerifyJSON(got, "domain", key.ID, key.Public()) != nil {
		t.Errorf("an entity without signatures: %s, %v", got, err)
	}
}

func TestStoredKeys(t *testing.T) {
	t.Parallel()
	key := specKey(t)
	if key.ID != "ed25519:1" || EncodeBase64(key.Public()) != "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI" {
		t.Errorf("the key %s has the public half %s", key.ID, EncodeBase64(key.Public()))
	}
	again, err := ParseKey(key.Format())
	if err != nil || again.ID != key.ID || !again.Private.Equal(key.Private) {
		t.Errorf("written and read: %v, %v", again.ID, err)
	}
	seed := strings.TrimSuffix(specSeed, "1") + "0"
	for _, good := range []string{"ed25519:1 " + seed, "  ed25519:a_B9\t" + seed + "=\n"} {
		if _, err := ParseKey([]byte(good)); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "ed25519:1", "ed25519:1 x", "ed25519: " + seed, "ed25519 1 " + seed, "rsa:1 " + seed, "ed25519:1 " + seed + " more", "ed25519:1 " + seed[:42],
		"ed25519:1 " + seed + "AA", "ed25519:a-b " + seed, "ed25519:a:b " + seed, "ed25519:é " + seed, "xed25519:1 " + seed} {
		if k, err := ParseKey([]byte(bad)); err == nil {
			t.Errorf("%q is read as %s", bad, k.ID)
		} else if strings.Contains(err.Error(), seed[:20]) {
			t.Errorf("%q: the error tells the secret: %v", bad, err)
		}
	}
}

// object draws a JSON object with nested values.
func object(rt *rapid.T) map[string]any {
	leaf := rapid.OneOf(rapid.Just[any](nil), rapid.Map(rapid.Bool(), func(b bool) any { return b }),
		rapid.Map(rapid.Int64Range(canonicaljson.MinInteger, canonicaljson.MaxInteger), func(n int64) any { return n }), rapid.Map(rapid.String(), func(s string) any { return s }))
	nested := rapid.OneOf(leaf, rapid.Map(rapid.SliceOfN(leaf, 0, 3), func(s []any) any { return s }), rapid.Map(rapid.MapOfN(rapid.String(), leaf, 0, 3), func(m map[string]any) any { return m }))
	o := rapid.MapOfN(rapid.String(), nested, 0, 6).Draw(rt, "object")
	delete(o, "signatures")
	return o
}

// Whatever is signed verifies, by each of its signers in any order, and no longer when one byte of what is covered changes
// into JSON that means something else.
func TestSignVerifyTamper(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		raw, err := json.Marshal(object(rt))
		if err != nil {
			rt.Fatal(err)
		}
		signers := map[string]Key{}
		for i, entity := range rapid.Permutation([]string{"a.example", "b.example:8448", "@u:c.example"}).Draw(rt, "entities") {
			key := NewKey("k", bytes.Repeat([]byte{byte(i)}, ed25519.SeedSize))
			if raw, err = SignJSON(raw, entity, key); err != nil {
				rt.Fatal(err)
			}
			signers[entity] = key
		}
		for entity, key := range signers {
			if err := VerifyJSON(raw, entity, key.ID, key.Public()); err != nil {
				rt.Fatalf("%s: %s: %v", raw, entity, err)
			}
		}
		tampered := slices.Clone(raw)
		tampered[rapid.IntRange(0, len(raw)-1).Draw(rt, "place")] ^= byte(1 + rapid.IntRange(0, 254).Draw(rt, "flip"))
		if covered(rt, raw) == covered(rt, tampered) {
			return
		}
		for entity, key := range signers {
			if err := VerifyJSON(tampered, entity, key.ID, key.Public()); err == nil {
				rt.Fatalf("%s became %s, and %s still verifies", raw, tampered, entity)
			}
		}
	})
}

// covered is what signatures cover of an object, "" if it is not one.
func covered(rt *rapid.T, raw []byte) string {
	var members map[string]jsontext.Value
	if json.Unmarshal(raw, &members) != nil || members == nil {
		return ""
	}
	delete(members, "signatures")
	delete(members, "unsigned")
	b, err := canonicaljson.Marshal(members)
	if err != nil {
		rt.Fatal(err)
	}
	return string(b)
}

// Each single bit of the signed bytes, of the signature and of the key matters.
func TestEveryBitMatters(t *testing.T) {
	t.Parallel()
	key := specKey(t)
	canonical := []byte(`{"a":1}`)
	signature, err := DecodeBase64(Sign(canonical, key))
	if err != nil {
		t.Fatal(err)
	}
	flip := func(b []byte, bit int) []byte {
		c := slices.Clone(b)
		c[bit/8] ^= 1 << (bit % 8)
		return c
	}
	if err := Verify(canonical, EncodeBase64(signature), key.Public()); err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(canonical) {
		if Verify(flip(canonical, bit), EncodeBase64(signature), key.Public()) == nil {
			t.Errorf("bit %d of the text does not matter", bit)
		}
	}
	for bit := range 8 * len(signature) {
		if Verify(canonical, EncodeBase64(flip(signature, bit)), key.Public()) == nil {
			t.Errorf("bit %d of the signature does not matter", bit)
		}
	}
	for bit := range 8 * ed25519.PublicKeySize {
		if Verify(canonical, EncodeBase64(signature), flip(key.Public(), bit)) == nil {
			t.Errorf("bit %d of the key does not matter", bit)
		}
	}
}

// Strangers' objects are signed and then verify, or are refused; so are strangers' keys and base64.
func FuzzSign(f *testing.F) {
	for _, seed := range []string{`{}`, `{"signatures":null}`, `{"signatures":{"domain":null}}`, `{"unsigned":1,"b":1e10,"a":"\u0000"}`, `null`, "ed25519:1 " + specSeed, "Zm9v-_=="} {
		f.Add([]byte(seed))
	}
	key := specKey(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if err := VerifyJSON(raw, "domain", key.ID, key.Public()); err == nil && !bytes.Contains(raw, []byte("signatures")) {
			t.Fatalf("%q is signed", raw)
		}
		if signed, err := SignJSON(raw, "domain", key); err == nil {
			if err := VerifyJSON(signed, "domain", key.ID, key.Public()); err != nil {
				t.Fatalf("%q signed is %q: %v", raw, signed, err)
			}
		}
		if k, err := ParseKey(raw); err == nil {
			if again, err := ParseKey(k.Format()); err != nil || again.ID != k.ID || !again.Private.Equal(k.Private) {
				t.Fatalf("the key %q is written as %q", raw, k.Format())
			}
		}
		if b, err := DecodeBase64(string(raw)); err == nil {
			if again, err := DecodeBase64(EncodeBase64(b)); err != nil || !bytes.Equal(again, b) {
				t.Fatalf("%q decodes to %q, and that does not come back", raw, b)
			}
		}
	})
}
