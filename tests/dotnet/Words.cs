namespace Greeter
{
    public static class Words
    {
        public static string Greeting { get { return "hello from beside"; } }
    }
}
