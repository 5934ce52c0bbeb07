package io.github.edgeinfer.json

/** A value does not fit; the message names the key's full path. */
class SchemaException(message: String) : Exception(message)

/**
 * A JSON object that is read key by key. [done] refuses the keys that nobody asked for, so a misspelt key is an error and not a
 * default.
 */
class Table(val where: String, val entries: Map<String, Any?>) {
    private val known = HashSet<String>()

    fun has(key: String): Boolean {
        known += key
        return entries.containsKey(key)
    }

    fun text(key: String): String = any(key) as? String ?: wrong(key, "text")

    fun textOrNull(key: String): String? = if (any(key) == null) null else text(key)

    fun integer(key: String): Int {
        val value = any(key) as? Long ?: wrong(key, "a whole number")
        return if (value in Int.MIN_VALUE..Int.MAX_VALUE) value.toInt() else wrong(key, "a smaller number")
    }

    fun long(key: String): Long = any(key) as? Long ?: wrong(key, "a whole number")

    fun number(key: String): Double = number(any(key)) ?: wrong(key, "a number")

    fun numberOrNull(key: String): Double? = if (any(key) == null) null else number(key)

    fun table(key: String): Table = asTable(any(key), path(key))

    fun texts(key: String): List<String> = items(key) { value, at -> value as? String ?: expected(at, "text", value) }

    fun tables(key: String): List<Table> = items(key) { value, at -> asTable(value, at) }

    /** Each entry of a table by its own name. */
    fun <T> named(key: String, read: (Table) -> T): Map<String, T> {
        val inner = table(key)
        return inner.entries.mapValues { (name, value) -> read(asTable(value, inner.path(name))) }
    }

    fun namedTexts(key: String): Map<String, String> {
        val inner = table(key)
        return inner.entries.mapValues { (name, value) -> value as? String ?: expected(inner.path(name), "text", value) }
    }

    /** One of the constants of an enumeration, by the name that JSON gives it. */
    fun <T> choice(key: String, options: Iterable<T>, name: (T) -> String): T {
        val value = any(key)
        return options.firstOrNull { name(it) == value }
            ?: expected(path(key), "one of ${options.joinToString { name(it) }}", value)
    }

    /** Checks a key that can only have one value. */
    fun constant(key: String, value: Any) {
        if (any(key) != value) expected(path(key), "$value", any(key))
    }

    /** A key whose value is for people; it only has to be a table. */
    fun skipTable(key: String) {
        table(key)
    }

    /** Refuses every key that was not read, and gives `value` back. */
    fun <T> done(value: T): T {
        val unknown = entries.keys.firstOrNull { it !in known }
        if (unknown != null) throw SchemaException("${path(unknown)}: unknown key; known keys: ${known.sorted().joinToString()}")
        return value
    }

    fun path(key: String): String = if (where.isEmpty()) key else "$where.$key"

    private fun any(key: String): Any? {
        if (!has(key)) throw SchemaException("${path(key)}: missing")
        return entries[key]
    }

    private fun <T> items(key: String, read: (Any?, String) -> T): List<T> {
        val list = any(key) as? List<*> ?: wrong(key, "a list")
        return list.mapIndexed { i, value -> read(value, "${path(key)}[$i]") }
    }

    private fun wrong(key: String, what: String): Nothing = expected(path(key), what, entries[key])

    companion object {
        /** @throws SchemaException the value is no JSON object. */
        fun asTable(value: Any?, where: String): Table {
            @Suppress("UNCHECKED_CAST") // parseJson makes no map with other keys
            return Table(where, value as? Map<String, Any?> ?: expected(where, "a table", value))
        }

        private fun number(value: Any?): Double? = when (value) {
            is Double -> value
            is Long -> value.toDouble()
            else -> null
        }

        private fun expected(where: String, what: String, value: Any?): Nothing =
            throw SchemaException("${where.ifEmpty { "document" }}: expected $what, got ${shown(value)}")

        private fun shown(value: Any?): String = when (value) {
            is Map<*, *> -> "a table"
            is List<*> -> "a list"
            is String -> "'$value'"
            else -> "$value"
        }
    }
}
