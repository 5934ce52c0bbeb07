package io.github.edgeinfer.json

/** The text is no JSON; the message says where. */
class JsonException(message: String) : Exception(message)

/**
 * Reads JSON (RFC 8259) strictly: no duplicate key, nothing after the value, no deeper than 64 levels.
 *
 * Written here because Android's `org.json` is lenient and absent from a plain JVM, and a core without dependencies can be
 * compiled anywhere.
 *
 * @return `Map<String, Any?>`, `List<Any?>`, `String`, `Long`, `Double`, `Boolean` or null.
 * @throws JsonException the text is no JSON.
 */
fun parseJson(text: String): Any? = Reader(text).document()

private class Reader(private val text: String) {
    private var at = 0

    fun document(): Any? {
        val value = value(0)
        space()
        if (at != text.length) fail("unexpected text after the value")
        return value
    }

    private fun value(depth: Int): Any? {
        if (depth > 64) fail("nested too deeply")
        space()
        return when (val c = peek()) {
            '{' -> table(depth)
            '[' -> list(depth)
            '"' -> string()
            't' -> word("true", true)
            'f' -> word("false", false)
            'n' -> word("null", null)
            else -> if (c == '-' || c in '0'..'9') number() else fail("unexpected '$c'")
        }
    }

    private fun table(depth: Int): Map<String, Any?> {
        val entries = LinkedHashMap<String, Any?>()
        at++
        space()
        if (peek() == '}') return entries.also { at++ }
        while (true) {
            space()
            if (peek() != '"') fail("expected a key")
            val key = string()
            space()
            expect(':')
            val value = value(depth + 1)
            if (entries.containsKey(key)) fail("the key '$key' occurs twice")
            entries[key] = value
            space()
            if (peek() == '}') return entries.also { at++ }
            expect(',')
        }
    }

    private fun list(depth: Int): List<Any?> {
        val items = ArrayList<Any?>()
        at++
        space()
        if (peek() == ']') return items.also { at++ }
        while (true) {
            items.add(value(depth + 1))
            space()
            if (peek() == ']') return items.also { at++ }
            expect(',')
        }
    }

    private fun string(): String {
        at++
        val result = StringBuilder()
        while (true) {
            val c = peek()
            at++
            when {
                c == '"' -> return result.toString()
                c < ' ' -> fail("a control character in a string")
                c == '\\' -> result.append(escape())
                else -> result.append(c)
            }
        }
    }

    private fun escape(): Char {
        val c = peek()
        at++
        return when (c) {
            '"', '\\', '/' -> c
            'b' -> '\b'
            'f' -> '\u000C'
            'n' -> '\n'
            'r' -> '\r'
            't' -> '\t'
            'u' -> {
                val digits = if (at + 4 <= text.length) text.substring(at, at + 4) else fail("a cut escape")
                if (!digits.all { it in '0'..'9' || it in 'a'..'f' || it in 'A'..'F' }) fail("a bad escape")
                at += 4
                digits.toInt(16).toChar()
            }
            else -> fail("a bad escape")
        }
    }

    private fun number(): Any {
        val found = NUMBER.matchAt(text, at) ?: fail("a bad number")
        at += found.value.length
        if (found.groupValues[1].isEmpty() && found.groupValues[2].isEmpty()) {
            return found.value.toLongOrNull() ?: fail("a number too large")
        }
        val value = found.value.toDouble()
        if (value.isInfinite()) fail("a number too large")
        return value
    }

    private fun <T> word(word: String, value: T): T {
        if (!text.startsWith(word, at)) fail("unexpected text")
        at += word.length
        return value
    }

    private fun space() {
        while (at < text.length && text[at] in " \t\r\n") at++
    }

    private fun peek(): Char = if (at < text.length) text[at] else fail("the text ends too early")

    private fun expect(c: Char) {
        if (peek() != c) fail("expected '$c'")
        at++
    }

    private fun fail(what: String): Nothing {
        val before = text.substring(0, minOf(at, text.length))
        throw JsonException("line ${before.count { it == '\n' } + 1}, column ${before.length - before.lastIndexOf('\n')}: $what")
    }

    private companion object {
        val NUMBER = Regex("""-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?""")
    }
}
