using Platform;
using Access = Vcmm.Access;

namespace Explorer.Oracles;

// Address spaces that are let through untranslated: there a device reaches the frame that it names, and is kept from none.
public sealed partial class Ledger
{
    private readonly Dictionary<StreamId, Register<bool>> _passages = [];

    /// <summary>Where memory is: elsewhere nothing is reached untranslated.</summary>
    public PhysRange Memory { get; init; }

    /// <summary>An address space is being let through, or that is being ended.</summary>
    public void BeginPassage(StreamId space, bool passes)
    {
        if (!_passages.TryGetValue(space, out Register<bool>? passage)) _passages[space] = passage = new(false);
        passage.Begin(passes, ++_clock);
        Refresh();
    }

    /// <summary>That operation has returned.</summary>
    public void EndPassage(StreamId space, bool done)
    {
        _passages[space].End(done, ++_clock);
        Refresh();
    }

    /// <summary>Whether the address space may be let through at this instant.</summary>
    public bool MayPass(StreamId space) => _passages.TryGetValue(space, out Register<bool>? passage) && passage.Possible.Contains(true);

    /// <summary>Where an access ends that is not translated; null: nowhere.</summary>
    public Target? Untranslated(Iova page)
    {
        var frame = new PhysAddr(page.Value);
        return Memory.Contains(frame) ? new(frame, Access.ReadWrite) : null;
    }

    private bool MayNotPass(StreamId space) => !_passages.TryGetValue(space, out Register<bool>? passage) || passage.Possible.Contains(false);
}
