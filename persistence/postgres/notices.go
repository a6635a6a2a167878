package postgres

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/matrixon/matrixon/persistence"
)

// How the notices of a batch are written: for each accepted request that has some its position (a varint), how many they are (a varint),
// and each of them as a google.protobuf.Any after its length.

// The fields of an Any, and what the URLs in it begin with.
const (
	typeURL  protowire.Number = 1
	anyValue protowire.Number = 2
	typeHost                  = "type.googleapis.com/"
)

// encodeNotices writes the notices of the requests.
func encodeNotices(requests []*request) ([]byte, error) {
	var out []byte
	var err error
	for _, r := range requests {
		if r.err != nil || len(r.commit.Notices) == 0 {
			continue
		}
		out = protowire.AppendVarint(out, uint64(r.position))
		out = protowire.AppendVarint(out, uint64(len(r.commit.Notices)))
		for _, n := range r.commit.Notices {
			if out, err = appendNotice(out, n); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func appendNotice(out []byte, n proto.Message) ([]byte, error) {
	name := string(n.ProtoReflect().Descriptor().FullName())
	size := proto.Size(n)
	nameSize := len(typeHost) + len(name)
	whole := protowire.SizeTag(typeURL) + protowire.SizeBytes(nameSize)
	if size > 0 {
		whole += protowire.SizeTag(anyValue) + protowire.SizeBytes(size)
	}
	out = protowire.AppendVarint(out, uint64(whole))
	out = protowire.AppendTag(out, typeURL, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(nameSize))
	out = append(append(out, typeHost...), name...)
	if size == 0 {
		return out, nil
	}
	out = protowire.AppendTag(out, anyValue, protowire.BytesType)
	out = protowire.AppendVarint(out, uint64(size))
	return proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(out, n)
}

// tellEncoded tells of what encodeNotices wrote.
func (s *Store) tellEncoded(raw []byte) error {
	for len(raw) > 0 {
		p, n := protowire.ConsumeVarint(raw)
		count, m := protowire.ConsumeVarint(raw[max(n, 0):])
		if n < 0 || m < 0 {
			return fmt.Errorf("%w: notices", persistence.ErrCorrupt)
		}
		raw = raw[n+m:]
		var notices []proto.Message
		for range count {
			packed, n := protowire.ConsumeBytes(raw)
			if n < 0 {
				return fmt.Errorf("%w: notices", persistence.ErrCorrupt)
			}
			raw = raw[n:]
			notice, err := s.notice(packed)
			if err != nil {
				return fmt.Errorf("%w: notices: %w", persistence.ErrCorrupt, err)
			}
			if notice != nil {
				notices = append(notices, notice)
			}
		}
		s.tell(persistence.Position(p), notices)
	}
	return nil
}

// notice reads an Any; nil when it is of a kind that this version does not know: a newer one tells what older ones need in messages that
// they know.
func (s *Store) notice(packed []byte) (proto.Message, error) {
	var url string
	var value []byte
	for len(packed) > 0 {
		number, kind, n := protowire.ConsumeTag(packed)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		packed = packed[n:]
		if kind != protowire.BytesType || number != typeURL && number != anyValue {
			if n = protowire.ConsumeFieldValue(number, kind, packed); n < 0 {
				return nil, protowire.ParseError(n)
			}
			packed = packed[n:]
			continue
		}
		field, n := protowire.ConsumeBytes(packed)
		if n < 0 {
			return nil, protowire.ParseError(n)
		}
		packed = packed[n:]
		if number == typeURL {
			url = string(field)
		} else {
			value = field
		}
	}
	kind, err := protoregistry.GlobalTypes.FindMessageByURL(url)
	if errors.Is(err, protoregistry.NotFound) {
		s.log.Debug("a notice of a kind that this version does not know", "type", url)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	message := kind.New().Interface()
	return message, proto.Unmarshal(value, message)
}
