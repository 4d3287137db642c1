using Explorer.Scheduling;
using Platform;

namespace Explorer.Races;

/// <summary>What an agent does with memory.</summary>
internal enum Deed
{
    /// <summary>A walker reads an entry.</summary>
    Walk,

    /// <summary>A device, or what runs on a core, moves bytes.</summary>
    Move,

    /// <summary>A processor writes a word, or hardware does.</summary>
    Store,

    /// <summary>A processor exchanges a word.</summary>
    Exchange,

    /// <summary>A processor reads a word of a queue, or hardware does.</summary>
    Fetch,

    /// <summary>A processor writes bytes: a page is made a table.</summary>
    Fill,

    /// <summary>A page is given back.</summary>
    Free,
}

/// <summary>The latest of what an agent did in one way with one page, or one word.</summary>
/// <param name="Deed">In which way.</param>
/// <param name="Agent">Its number.</param>
/// <param name="Epoch">Its own clock then.</param>
/// <param name="Address">Where.</param>
/// <param name="Call">In which call; null: none that was noted.</param>
/// <param name="Source">By which statement; null: nobody looks on.</param>
internal readonly record struct Mark(Deed Deed, int Agent, int Epoch, PhysAddr Address, string? Call, string? Source)
{
    /// <summary>In words.</summary>
    public string Say(VectorClocks clocks) => clocks.NameOf(Agent) + Deed switch
    {
        Deed.Walk => " walks through ",
        Deed.Move => " moves bytes at ",
        Deed.Store => " stores to ",
        Deed.Exchange => " exchanges ",
        Deed.Fetch => " reads ",
        Deed.Fill => " makes a table at ",
        _ => " frees the page at ",
    } + Address + (Call is null ? "" : $" in \"{Call}\"");

    /// <summary>Where it is written, for who looks on.</summary>
    public string Line(VectorClocks clocks) => $"{clocks.NameOf(Agent)} at {Source ?? "a statement that has no line"}";
}

/// <summary>Two of them that nothing orders.</summary>
/// <param name="First">The one that came first in this schedule.</param>
/// <param name="Second">The other.</param>
internal readonly record struct Race(Mark First, Mark Second);
