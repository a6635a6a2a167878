package picture

import (
	"image"
	"math"
	"strings"
)

// blurHash is a sketch of a picture in a few characters (github.com/woltapp/blurhash), with 4 components across and 3 down.
func blurHash(img *image.RGBA) string {
	const across, down = 4, 3
	linear := linearised(img)
	var factors [across * down][3]float64
	for j := range down {
		for i := range across {
			factors[j*across+i] = component(linear, img.Rect.Dx(), img.Rect.Dy(), i, j)
		}
	}
	largest := 0.0
	for _, f := range factors[1:] {
		for _, v := range f {
			largest = max(largest, math.Abs(v))
		}
	}
	quantised := max(0, min(82, int(math.Floor(largest*166-0.5))))
	scale := float64(quantised+1) / 166
	var b strings.Builder
	base83(&b, across-1+(down-1)*9, 1)
	base83(&b, quantised, 1)
	base83(&b, srgb(factors[0][0])<<16|srgb(factors[0][1])<<8|srgb(factors[0][2]), 4)
	for _, f := range factors[1:] {
		value := 0
		for _, v := range f {
			signed := math.Copysign(math.Sqrt(math.Abs(v/scale)), v)
			value = value*19 + max(0, min(18, int(math.Floor(signed*9+9.5))))
		}
		base83(&b, value, 2)
	}
	return b.String()
}

// linearised gives the brightness of each colour, without the curve of sRGB.
func linearised(img *image.RGBA) [][3]float64 {
	var curve [256]float64
	for i := range curve {
		v := float64(i) / 255
		if v <= 0.04045 {
			curve[i] = v / 12.92
		} else {
			curve[i] = math.Pow((v+0.055)/1.055, 2.4)
		}
	}
	w, h := img.Rect.Dx(), img.Rect.Dy()
	out := make([][3]float64, 0, w*h)
	for y := range h {
		for x := range w {
			p := img.Pix[y*img.Stride+4*x:]
			out = append(out, [3]float64{curve[p[0]], curve[p[1]], curve[p[2]]})
		}
	}
	return out
}

// component is how much of one pair of waves is in the picture.
func component(linear [][3]float64, w, h, i, j int) (sum [3]float64) {
	norm := 2.0
	if i == 0 && j == 0 {
		norm = 1
	}
	for y := range h {
		vertical := math.Cos(math.Pi * float64(j) * float64(y) / float64(h))
		for x := range w {
			basis := norm * vertical * math.Cos(math.Pi*float64(i)*float64(x)/float64(w))
			for c := range sum {
				sum[c] += basis * linear[y*w+x][c]
			}
		}
	}
	for c := range sum {
		sum[c] /= float64(w * h)
	}
	return sum
}

func srgb(v float64) int {
	v = max(0, min(1, v))
	if v <= 0.0031308 {
		return int(v*12.92*255 + 0.5)
	}
	return int((1.055*math.Pow(v, 1/2.4)-0.055)*255 + 0.5)
}

func base83(b *strings.Builder, value, digits int) {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"
	divisor := 1
	for range digits - 1 {
		divisor *= 83
	}
	for range digits {
		b.WriteByte(alphabet[value/divisor%83])
		divisor /= 83
	}
}
