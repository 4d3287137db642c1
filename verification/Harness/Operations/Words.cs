using System.Globalization;
using Vcmm.Spec;

namespace Harness.Operations;

/// <summary>The words of a line, taken one by one.</summary>
internal sealed class Words(string line)
{
    private readonly string[] _words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
    private int _next;

    public BadInputException Expected(string what) =>
        new($"step \"{line}\": \"{(_next > 0 ? _words[_next - 1] : "")}\" stands where {what} was expected");

    public string Take(string what) =>
        _next < _words.Length ? _words[_next++] : throw new BadInputException($"step \"{line}\" ends where {what} was expected");

    public void Take(string word, string what)
    {
        if (Take(what) != word) throw Expected(what);
    }

    public bool TryTake(string word)
    {
        if (_next >= _words.Length || _words[_next] != word) return false;
        _next++;
        return true;
    }

    /// <summary>The names before an equals sign; empty: there is none.</summary>
    public List<ObjectId> TakeMade()
    {
        var made = new List<ObjectId>();
        int equals = Array.IndexOf(_words, "=");
        while (_next < equals)
        {
            made.Add(ObjectId.TryParse(Take("a name"), out ObjectId id) && id.In is null ? id : throw Expected("a name"));
        }

        if (equals >= 0) Take("=", "=");
        return made;
    }

    public ObjectId TakeId(string what) => ObjectId.TryParse(Take(what), out ObjectId id) ? id : throw Expected(what);

    public ObjectId TakeId(ObjectKind kind)
    {
        string what = $"a name that begins with {(char)kind}";
        ObjectId id = TakeId(what);
        return id.Kind == kind ? id : throw Expected(what);
    }

    public ulong TakeAddress() => TryParseAddress(Take("an address"), out ulong address) ? address : throw Expected("an address such as 0x1000");

    public AddressRange TakeRange()
    {
        const string what = "a range such as 0x0-0xfff";
        string[] ends = Take(what).Split('-');
        if (ends.Length != 2 || !TryParseAddress(ends[0], out ulong first) || !TryParseAddress(ends[1], out ulong last) || last < first) throw Expected(what);
        return new(first, last);
    }

    public ulong TakeSize() => TryParseSize(Take("a size"), out ulong size) ? size : throw Expected("a size such as 8K");

    public int TakeNumber(string what) => int.TryParse(Take(what), NumberStyles.None, CultureInfo.InvariantCulture, out int number) ? number : throw Expected(what);

    public ulong TakeMilliseconds()
    {
        const string what = "a time such as 10ms";
        string word = Take(what);
        if (!word.EndsWith("ms", StringComparison.Ordinal) || !ulong.TryParse(word.AsSpan(0, word.Length - 2), NumberStyles.None, CultureInfo.InvariantCulture, out ulong count)) throw Expected(what);
        return count;
    }

    public ulong TakeSizes()
    {
        const string what = "chunk sizes such as 4K|64K";
        string word = Take(what);
        if (word == "nothing") return 0;
        ulong sizes = 0;
        foreach (string part in word.Split('|'))
        {
            if (!TryParseSize(part, out ulong size)) throw Expected(what);
            sizes |= size;
        }

        return sizes;
    }

    /// <summary>A word and the size after it.</summary>
    public ulong TakeSize(string word)
    {
        Take(word, word);
        return TakeSize();
    }

    public Permissions TakePermissions()
    {
        const string what = "some of r, w and x, in this order, or none";
        string word = Take(what);
        if (word == "none") return Permissions.None;
        for (Permissions permissions = Permissions.Read; permissions <= Permissions.ReadWriteExecute; permissions++)
        {
            if (OperationText.Write(permissions) == word) return permissions;
        }

        throw Expected(what);
    }

    /// <summary>The name of a kind of table; null: none follows.</summary>
    public TableKind? TryTakeKind()
    {
        foreach (TableKind kind in Enum.GetValues<TableKind>())
        {
            if (TryTake(OperationText.Write(kind))) return kind;
        }

        return null;
    }

    /// <summary><c>pasid 5</c>; null: none follows.</summary>
    public uint? TryTakePasid()
    {
        const string what = "a PASID from 0 to 1048575";
        if (!TryTake("pasid")) return null;
        return uint.TryParse(Take(what), NumberStyles.None, CultureInfo.InvariantCulture, out uint pasid) && pasid < 1 << 20 ? pasid : throw Expected(what);
    }

    public void End()
    {
        if (_next < _words.Length) throw new BadInputException($"step \"{line}\": \"{_words[_next]}\" stands where the end was expected");
    }

    private static bool TryParseAddress(string word, out ulong address)
    {
        address = 0;
        return word.StartsWith("0x", StringComparison.Ordinal) && ulong.TryParse(word.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out address);
    }

    private static bool TryParseSize(string word, out ulong size)
    {
        size = 0;
        if (word.Length == 0) return false;
        int shift = word[^1] switch { 'K' => 10, 'M' => 20, 'G' => 30, _ => 0 };
        if (!ulong.TryParse(shift == 0 ? word : word.AsSpan(0, word.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture, out ulong count)) return false;
        if (count > ulong.MaxValue >> shift) return false;
        size = count << shift;
        return true;
    }
}
