package variant

// The two low bits of a value's first byte.
const (
	basicPrimitive = iota
	basicShortString
	basicObject
	basicArray
)

// primitive is the type of a value that holds no others. (Variant primitive
// types)
type primitive uint8

const (
	primNull primitive = iota
	primTrue
	primFalse
	primInt8
	primInt16
	primInt32
	primInt64
	primDouble
	primDecimal4
	primDecimal8
	primDecimal16
	primDate           // days
	primTimestamp      // microseconds, an instant
	primTimestampNTZ   // microseconds, a local date and time
	primFloat          //
	primBinary         // with a length in front
	primString         // with a length in front
	primTime           // microseconds of the day
	primTimestampNanos // an instant
	primTimestampNTZNanos
	primUUID
	primitives // how many are known
)

// primitiveBytes are the lengths of their values, without the first byte; of
// texts and bytes that of the length.
var primitiveBytes = [primitives]int{
	primInt8: 1, primInt16: 2, primInt32: 4, primInt64: 8, primDouble: 8,
	primDecimal4: 5, primDecimal8: 9, primDecimal16: 17, primDate: 4,
	primTimestamp: 8, primTimestampNTZ: 8, primFloat: 4, primBinary: 4, primString: 4,
	primTime: 8, primTimestampNanos: 8, primTimestampNTZNanos: 8, primUUID: 16,
}

// maxDepth bounds how deep values may lie in each other. JSON parsers stop at
// 1000 or before.
const maxDepth = 2000

// maxScale is the greatest scale of a decimal.
const maxScale = 38

// microsOfDay are the microseconds of a day.
const microsOfDay = 86_400_000_000

// unsigned reads a little-endian number of 1 to 4 bytes.
func unsigned(b []byte) int {
	v := 0
	for i := len(b) - 1; i >= 0; i-- {
		v = v<<8 | int(b[i])
	}
	return v
}
