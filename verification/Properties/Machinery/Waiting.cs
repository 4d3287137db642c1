namespace Properties.Machinery;

/// <summary>Tells of what takes no lock whether it waits: it looks again and again until it may go on.</summary>
internal static class Waiting
{
    private const int Looks = 50;

    /// <summary>Whether <paramref name="body"/>, on a thread of its own, has not come to its end before <paramref name="letGo"/>; then it must.</summary>
    public static bool Waits(Action body, Action letGo)
    {
        Exception? failure = null;
        bool hasBegun = false;
        var other = new Thread(() =>
        {
            Volatile.Write(ref hasBegun, true);
            failure = Record.Exception(body);
        });
        other.Start();
        var spin = new SpinWait();
        while (!Volatile.Read(ref hasBegun)) spin.SpinOnce(sleep1Threshold: -1);
        for (int i = 0; i < Looks && other.IsAlive; i++) spin.SpinOnce(sleep1Threshold: -1);
        bool hasWaited = other.IsAlive;
        letGo();
        other.Join();
        Assert.Null(failure);
        return hasWaited;
    }
}
