package session

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"

	"github.com/jit-access/jit/session/secret"
)

// BrokerToken is the bearer token of one session's broker calls.
type BrokerToken = secret.Text

// Digest is what an approval binds to: hex SHA-256 over the length-prefixed
// canonical text, binds, role, warehouse, database, schema, session and policy.
func (c Case) Digest() string {
	return digest("jit case v1", c.Canonical, c.Binds, c.Role, c.Warehouse, c.Database, c.Schema, c.SessionID, c.Policy)
}

// ShapeDigest is what a ReuseShape approval binds to: as Digest, with the shape
// in place of the text. Binds count in full: a bind may name an object or be a
// whole statement, which no shape can know.
func (c Case) ShapeDigest() string {
	return digest("jit shape v1", c.Shape, c.Binds, c.Role, c.Warehouse, c.Database, c.Schema, c.SessionID, c.Policy)
}

func digest(parts ...string) string {
	size := 0
	for _, p := range parts {
		size += 8 + len(p)
	}
	all := make([]byte, 0, size)
	for _, p := range parts {
		all = append(binary.BigEndian.AppendUint64(all, uint64(len(p))), p...)
	}
	sum := sha256.Sum256(all)
	return hex.EncodeToString(sum[:])
}
