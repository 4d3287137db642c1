using System.Collections;
using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;

namespace Vcmm.Spec;

/// <summary>All objects of a kind, by name, as an immutable value: in ascending order of the names.</summary>
/// <remarks>
/// The model looks at all objects of a kind at every call, there are few of them, and one changes at a time. So they lie in arrays: to enumerate them takes
/// a tenth of what <see cref="ImmutableSortedDictionary{TKey, TValue}"/> takes, and to change one a copy.
/// </remarks>
/// <typeparam name="TState">What is known of an object.</typeparam>
// "Dictionary" would say how it is kept; what it holds are the objects of a kind.
[SuppressMessage("Naming", "CA1710:Identifiers should have correct suffix", Justification = "A map of objects, which is its name.")]
public sealed class ObjectMap<TState> : IReadOnlyDictionary<ObjectId, TState>
    where TState : class
{
    private ObjectMap(ImmutableArray<ObjectId> keys, ImmutableArray<TState> values) => (Keys, Values) = (keys, values);

    /// <summary>No object.</summary>
    public static ObjectMap<TState> Empty { get; } = new([], []);

    /// <summary>The names.</summary>
    public ImmutableArray<ObjectId> Keys { get; }

    /// <summary>What is known of each, in the order of the names.</summary>
    public ImmutableArray<TState> Values { get; }

    /// <inheritdoc/>
    public int Count => Keys.Length;

    IEnumerable<ObjectId> IReadOnlyDictionary<ObjectId, TState>.Keys => Keys;

    IEnumerable<TState> IReadOnlyDictionary<ObjectId, TState>.Values => Values;

    /// <summary>What is known of an object.</summary>
    /// <exception cref="KeyNotFoundException">There is none of that name.</exception>
    public TState this[ObjectId key] => IndexOf(key) is var index && index >= 0 ? Values[index] : throw new KeyNotFoundException($"there is no {key}");

    /// <summary>These objects.</summary>
    /// <exception cref="ArgumentException">Two have one name.</exception>
    public static ObjectMap<TState> Of(IEnumerable<KeyValuePair<ObjectId, TState>> objects)
    {
        KeyValuePair<ObjectId, TState>[] sorted = [.. objects];
        Array.Sort(sorted, static (one, other) => one.Key.CompareTo(other.Key));
        for (int i = 1; i < sorted.Length; i++)
        {
            if (sorted[i].Key == sorted[i - 1].Key) throw new ArgumentException($"{sorted[i].Key} is there twice", nameof(objects));
        }

        return new([.. sorted.Select(static pair => pair.Key)], [.. sorted.Select(static pair => pair.Value)]);
    }

    /// <summary>And one more.</summary>
    /// <exception cref="ArgumentException">There is one of that name.</exception>
    public ObjectMap<TState> Add(ObjectId key, TState value)
    {
        int index = IndexOf(key);
        return index < 0 ? new(Keys.Insert(~index, key), Values.Insert(~index, value)) : throw new ArgumentException($"{key} is there", nameof(key));
    }

    /// <summary>And those.</summary>
    /// <exception cref="ArgumentException">There is one of such a name.</exception>
    public ObjectMap<TState> AddRange(IEnumerable<KeyValuePair<ObjectId, TState>> objects) => Of(this.Concat(objects));

    /// <summary>With other knowledge of an object, which may be new.</summary>
    public ObjectMap<TState> SetItem(ObjectId key, TState value)
    {
        int index = IndexOf(key);
        return index < 0 ? Add(key, value) : new(Keys, Values.SetItem(index, value));
    }

    /// <inheritdoc/>
    public bool ContainsKey(ObjectId key) => IndexOf(key) >= 0;

    /// <inheritdoc/>
    public bool TryGetValue(ObjectId key, [MaybeNullWhen(false)] out TState value)
    {
        int index = IndexOf(key);
        value = index < 0 ? null : Values[index];
        return index >= 0;
    }

    /// <summary>The objects, in the order of their names.</summary>
    public ObjectEnumerator<TState> GetEnumerator() => new(this);

    IEnumerator<KeyValuePair<ObjectId, TState>> IEnumerable<KeyValuePair<ObjectId, TState>>.GetEnumerator() => GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    private int IndexOf(ObjectId key)
    {
        (int low, int high) = (0, Keys.Length - 1);
        while (low <= high)
        {
            int middle = (low + high) >> 1, order = Keys[middle].CompareTo(key);
            if (order == 0) return middle;
            if (order < 0) low = middle + 1;
            else high = middle - 1;
        }

        return ~low;
    }
}

/// <summary>Goes through objects in the order of their names.</summary>
/// <typeparam name="TState">What is known of an object.</typeparam>
public struct ObjectEnumerator<TState> : IEnumerator<KeyValuePair<ObjectId, TState>>
    where TState : class
{
    private readonly ObjectMap<TState> _map;
    private int _index;

    internal ObjectEnumerator(ObjectMap<TState> map)
    {
        _map = map;
        _index = -1;
    }

    /// <inheritdoc/>
    public readonly KeyValuePair<ObjectId, TState> Current => new(_map.Keys[_index], _map.Values[_index]);

    readonly object IEnumerator.Current => Current;

    /// <inheritdoc/>
    public bool MoveNext() => ++_index < _map.Count;

    /// <inheritdoc/>
    public void Reset() => _index = -1;

    /// <inheritdoc/>
    public readonly void Dispose()
    {
        // Nothing is held.
    }
}
