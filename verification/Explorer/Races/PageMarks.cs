using Microsoft.Coyote.Rewriting;
using Platform;

namespace Explorer.Races;

/// <summary>The latest of what each agent did with each page, and of what was done with each word.</summary>
[SkipRewriting("Looking on adds no steps to the schedule.")]
internal sealed class PageMarks
{
    private const int FrameLog2 = 12;
    private readonly Dictionary<ulong, List<Mark>> _pages = [];
    private readonly Dictionary<(ulong Word, Deed Deed), Mark> _words = [];

    /// <summary>Notes what is done in a page; the race with what was done there before, if it is one.</summary>
    public Race? NoteInPage(in Mark mark, VectorClocks clocks)
    {
        ulong frame = mark.Address.Value >> FrameLog2;
        if (!_pages.TryGetValue(frame, out List<Mark>? marks)) _pages[frame] = marks = [];
        int own = -1;
        for (int i = 0; i < marks.Count; i++)
        {
            Mark other = marks[i];
            if (other.Agent == mark.Agent)
            {
                if (other.Deed == mark.Deed) own = i;
            }
            else if ((TakesPageFrom(mark.Deed, other.Deed) || TakesPageFrom(other.Deed, mark.Deed)) && !clocks.Knows(mark.Agent, other.Agent, other.Epoch))
            {
                return new(other, mark);
            }
        }

        // All that came before is known to who frees it, and so to who has it next.
        if (mark.Deed == Deed.Free) marks.Clear();
        if (own < 0 || mark.Deed == Deed.Free) marks.Add(mark);
        else marks[own] = mark;
        return null;
    }

    /// <summary>Notes what is done with a word; the race with what was done with it before, if it is one.</summary>
    public Race? NoteInWord(in Mark mark, VectorClocks clocks)
    {
        Race? race = mark.Deed switch
        {
            Deed.Store => RaceWith(Deed.Store, mark, clocks) ?? RaceWith(Deed.Exchange, mark, clocks) ?? RaceWith(Deed.Fetch, mark, clocks),
            // Of two exchanges none is lost.
            _ => RaceWith(Deed.Store, mark, clocks),
        };
        _words[(mark.Address.Value, mark.Deed)] = mark;
        return race;
    }

    private Race? RaceWith(Deed deed, in Mark mark, VectorClocks clocks) =>
        _words.TryGetValue((mark.Address.Value, deed), out Mark other) && other.Agent != mark.Agent && !clocks.Knows(mark.Agent, other.Agent, other.Epoch)
            ? new(other, mark)
            : null;

    /// <summary>Whether one takes a page from who does the other with it.</summary>
    private static bool TakesPageFrom(Deed one, Deed other) => one switch
    {
        Deed.Free => true,
        // Data of a device, or a process, is no matter of who fills the page.
        Deed.Fill => other is Deed.Walk or Deed.Store or Deed.Exchange,
        _ => false,
    };
}
